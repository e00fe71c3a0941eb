"""The block pool and the prefix cache: keys, hits, eviction from the leaves, conservation."""

from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.engine.kv_cache import KvCache, prompt_block_keys
from servebench.engine.sequence import Sequence
from tests.engine.block_cache import BlockCache


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
        cached = cache.cached_keys()
        for family_keys in (Chains.keys(f, 5, 0, 0) for f in range(3)):
            whole = Sequence(-1, 0.0, 5 * 64 + 1, 5, family_keys)
            there = [key in cached for key in family_keys]
            assert there == sorted(there, reverse=True)  # what is cached is a beginning
            assert cache.matching_blocks(whole, whole.prompt_tokens) == sum(there)
    for sequence in live:
        cache.release(sequence)
    assert cache.used_blocks == 0


moves = st.lists(
    st.tuples(
        st.sampled_from(["admit", "admit", "compute", "compute", "release", "release", "grow", "forget"]),
        st.integers(0, 2),  # family
        st.integers(0, 9),  # blocks of its beginning
        st.integers(0, 6),  # blocks of the session after them
        st.integers(0, 5),  # which session
        st.integers(0, 900),  # tokens: beyond the last block, or computed at once
        st.integers(0, 9),  # who
    ),
    min_size=1,
    max_size=120,
)


class Pair:
    """The same moves on both caches, and nothing that tells them apart."""

    def __init__(self, total: int) -> None:
        self.runs, self.blocks = KvCache(total, 64), BlockCache(total, 64)
        self.live = list[tuple[Sequence, Sequence]]()

    def admit(self, number: int, keys: tuple[int, ...], tokens: int, keep_free: int) -> None:
        ours, theirs = (Sequence(number, 0.0, len(keys) * 64 + tokens or 1, 5, keys) for _ in range(2))
        admitted = self.runs.admit(ours, ours.prompt_tokens, keep_free=keep_free)
        assert admitted == self.blocks.admit(theirs, theirs.prompt_tokens, keep_free=keep_free)
        if admitted:
            self.live.append((ours, theirs))

    def move(self, move: str, who: int, tokens: int) -> None:
        if not self.live:
            return
        both = self.live[who % len(self.live)]
        caches: tuple[KvCache | BlockCache, ...] = (self.runs, self.blocks)
        for cache, sequence in zip(caches, both, strict=True):
            if move == "compute":
                sequence.computed = min(sequence.prompt_tokens, sequence.computed + tokens)
                cache.share(sequence)
            elif move == "grow":
                cache.grow(sequence)
            else:
                cache.release(sequence)
        if move == "release":
            self.live.remove(both)

    def check(self) -> None:
        assert self.runs.cached_keys() == self.blocks.cached_keys()
        for name in ("free_blocks", "idle_blocks", "shared_blocks", "used_blocks", "available_blocks"):
            assert getattr(self.runs, name) == getattr(self.blocks, name), name
        for ours, theirs in self.live:
            for name in ("held_keys", "private_blocks", "computed"):
                assert getattr(ours, name) == getattr(theirs, name), name


@settings(max_examples=300, deadline=None)
@given(moves, st.sampled_from([12, 24, 60]))
def test_runs_hit_and_evict_as_single_blocks_do(
    made: list[tuple[str, int, int, int, int, int, int]], total: int
) -> None:
    """Prompts that share, branch, grow by turns, are cut off half computed and come back."""
    pair = Pair(total)
    for number, (move, family, shared, own, session, tokens, who) in enumerate(made):
        if move == "admit":
            keys = tuple(family * 1_000 + i for i in range(shared))
            keys += tuple((1 + session) * 1_000_000 + family * 100 + shared * 10_000 + i for i in range(own))
            pair.admit(number, keys, tokens % 128, keep_free=who // 8)
        elif move == "forget":
            pair.runs.forget()
            pair.blocks.forget()
        else:
            pair.move(move, who, tokens)
        pair.check()


def test_a_beginning_used_again_outlives_the_rest_of_its_prompt() -> None:
    """Released together they are one run; used apart since, the parts are evicted apart."""
    cache = KvCache(12, 64)
    for number, keys in enumerate(((1, 2, 3, 4, 5, 6), (11, 12, 13, 14), (1, 2, 3))):
        sequence = prompt(number, len(keys), keys)
        assert held(cache, sequence)
        compute_all(cache, sequence)
        cache.release(sequence)
    evicted = [(4, 5, 6), (14, 13), (12, 11), (3,), (2, 1)]
    there, cached = {1, 2, 3, 4, 5, 6, 11, 12, 13, 14}, cache.cached_keys()
    assert cached == there
    holding = cache.free_blocks
    for number, victims in enumerate(evicted):
        holding += len(victims)
        sequence = prompt(10 + number, holding, ())
        assert held(cache, sequence)
        cache.release(sequence)
        there -= set(victims)
        assert cache.cached_keys() == there


def test_a_session_that_grows_stays_one_run() -> None:
    """The cost of a long prompt is its runs: a beginning that others share, and what is the session's own."""
    cache = KvCache(10_000, 64)
    for session in (1, 2):
        for blocks in range(200, 2_000, 100):
            keys = tuple(range(100)) + tuple(session * 1_000_000 + i for i in range(blocks - 100))
            call = prompt(session * 10_000 + blocks, blocks, keys)
            assert held(cache, call)
            for _ in range(0, blocks, 16):  # chunk by chunk
                call.computed = min(call.prompt_tokens, call.computed + 16 * 64)
                cache.share(call)
            cache.release(call)
    beginning = next(iter(cache.tree.root.children.values()))
    assert [(run.start, run.end) for run in (beginning, *beginning.children.values())] == [
        (0, 100),
        (100, 1_900),
        (100, 1_900),
    ]
