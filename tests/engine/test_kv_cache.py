"""The block pool and the prefix cache: keys, hits, eviction from the leaves, conservation."""

from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.engine.kv_cache import KvCache, prompt_block_keys
from servebench.engine.sequence import Sequence


def keys_of(prompt: bytes) -> tuple[int, ...]:
    return prompt_block_keys(prompt, preamble_tokens=100, bytes_per_token=4.0, block_tokens=64)


def held(cache: KvCache, sequence: Sequence) -> bool:
    return cache.admit(sequence, sequence.prompt_tokens)


def compute_all(cache: KvCache, sequence: Sequence) -> None:
    sequence.computed = sequence.prompt_tokens
    cache.share(sequence)


def prompt(sequence_id: int, blocks: int, keys: tuple[int, ...]) -> Sequence:
    return Sequence(sequence_id, 0.0, blocks * 64, 10, keys)


@given(st.binary(max_size=3_000), st.binary(max_size=3_000))
def test_keys_agree_exactly_as_far_as_the_bytes_do(a: bytes, b: bytes) -> None:
    keys_a, keys_b = keys_of(a), keys_of(b)
    assert len(keys_a) == (100 + len(a) // 4) // 64
    assert len(set(keys_a)) == len(keys_a)
    same_bytes = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    for i, (x, y) in enumerate(zip(keys_a, keys_b, strict=False)):
        assert (x == y) == (max(0, (64 * (i + 1) - 100) * 4) <= same_bytes)


def test_a_computed_prompt_is_found_again_but_for_its_last_block() -> None:
    cache = KvCache(10, 64)
    first, again = prompt(1, 4, (1, 2, 3, 4)), prompt(2, 4, (1, 2, 3, 4))
    assert held(cache, first)
    assert cache.matching_blocks(again, 256) == 0  # nothing computed yet
    compute_all(cache, first)
    assert held(cache, again)
    assert again.computed == 192  # three of four: the last token must be computed for the first output
    assert (cache.shared_blocks, again.private_blocks, cache.free_blocks) == (4, 1, 5)


def test_the_same_prompt_computed_twice_at_once_is_kept_once() -> None:
    cache = KvCache(10, 64)
    twins = prompt(1, 4, (1, 2, 3, 4)), prompt(2, 4, (1, 2, 3, 4))
    for twin in twins:
        assert held(cache, twin)
    assert cache.free_blocks == 2
    for twin in twins:
        compute_all(cache, twin)
    assert (cache.shared_blocks, cache.free_blocks) == (4, 6)
    for twin in twins:
        cache.release(twin)
    assert (cache.shared_blocks, cache.idle_blocks, cache.used_blocks) == (0, 4, 0)


def test_eviction_takes_the_least_recently_used_leaf_first() -> None:
    cache = KvCache(8, 64)
    old, young = prompt(1, 4, (1, 2, 3, 4)), prompt(2, 4, (1, 2, 30, 40))
    for sequence in (old, young):
        assert held(cache, sequence)
        compute_all(cache, sequence)
        cache.release(sequence)
    assert cache.idle_blocks == 6
    assert held(cache, prompt(3, 3, ()))  # two free, so one victim: the leaf of the older chain
    assert cache.matching_blocks(prompt(4, 9, (1, 2, 3, 4)), 576) == 3
    assert held(cache, prompt(5, 1, ()))
    assert cache.matching_blocks(prompt(6, 9, (1, 2, 3, 4)), 576) == 2
    assert cache.matching_blocks(prompt(7, 9, (1, 2, 30, 40)), 576) == 4


def test_no_room_changes_nothing() -> None:
    cache = KvCache(4, 64)
    first = prompt(1, 3, (1, 2, 3))
    assert held(cache, first)
    compute_all(cache, first)
    cache.release(first)
    big = prompt(2, 5, (1, 2, 3, 4, 5))
    assert not held(cache, big)
    assert (cache.free_blocks, cache.idle_blocks, big.private_blocks, big.held_keys) == (1, 3, 0, 0)


class Chains:
    """Prompts over a small alphabet of beginnings, so that they share and diverge."""

    @staticmethod
    def keys(family: int, shared: int, own: int, sequence_id: int) -> tuple[int, ...]:
        return tuple(family * 1_000 + i for i in range(shared)) + tuple(
            1_000_000 + sequence_id * 100 + i for i in range(own)
        )


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(0, 5), st.integers(0, 3), st.integers(0, 63), st.integers(0, 9)
        ),
        min_size=1,
        max_size=60,
    )
)
def test_blocks_conserve_under_any_order_of_use(moves: list[tuple[int, int, int, int, int]]) -> None:
    cache, live = KvCache(16, 64), list[Sequence]()
    for sequence_id, (family, shared, own, rest, drop) in enumerate(moves):
        keys = Chains.keys(family, shared, own, sequence_id)
        sequence = Sequence(sequence_id, 0.0, len(keys) * 64 + rest or 1, 5, keys)
        if held(cache, sequence):
            live.append(sequence)
            compute_all(cache, sequence)
            cache.grow(sequence)
        elif live:
            cache.release(live.pop(drop % len(live)))
        private = sum(s.private_blocks for s in live)
        shared_keys = {key for s in live for key in s.block_keys[: s.held_keys]}
        assert len(shared_keys) == cache.shared_blocks
        assert private + cache.shared_blocks + cache.idle_blocks + cache.free_blocks == 16
        assert cache.used_blocks == private + cache.shared_blocks
        for family_keys in (Chains.keys(f, 5, 0, 0) for f in range(3)):
            whole = Sequence(-1, 0.0, 5 * 64 + 1, 5, family_keys)
            there = [cache.holds(key) for key in family_keys]
            assert there == sorted(there, reverse=True)  # what is cached is a beginning
            assert cache.matching_blocks(whole, whole.prompt_tokens) == sum(there)
    for sequence in live:
        cache.release(sequence)
    assert cache.used_blocks == 0
