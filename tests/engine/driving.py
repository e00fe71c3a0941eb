"""Virtual time for tests: a small tier to reason about by hand, and loops that drive a replica to the end."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from servebench.catalog.hardware import Gpu
from servebench.catalog.load import load_catalog
from servebench.catalog.tiers import Tier
from servebench.engine.replica import Replica, Step
from servebench.engine.sequence import Emission, Sequence

OnStep = Callable[[Step, list[Emission]], None]


def small_tier(*, pool_blocks: int = 40, **serving: object) -> tuple[Tier, Gpu]:
    """Grok 4.3's shape on a chip whose memory leaves exactly this many KV blocks; no noise, no TTFT floor."""
    catalog = load_catalog()
    tier = catalog.tier("grok-4.3")
    quiet: dict[str, object] = {"step_noise_cv": 0.0, "prefill_noise_cv": 0.0, "ttft_floor_s": 0.0}
    quiet["prefill_layer_latency_s"] = 0.0  # so that prompts cost by their tokens
    profile = replace(tier.serving, **(quiet | serving))  # type: ignore[arg-type]  # field names given by tests
    kv_bytes = (pool_blocks + 0.5) * profile.block_tokens * tier.shape.kv_bytes_per_token
    memory = (tier.shape.weight_bytes + kv_bytes) / profile.gpus / 0.9 + 4e9 / 0.9
    gpu = replace(catalog.gpu(profile.gpu_id), memory_bytes=memory)
    return replace(tier, serving=profile), gpu


def drive(
    replica: Replica,
    sequences: Iterable[Sequence],
    on_step: OnStep | None = None,
    in_system: list[tuple[float, int]] | None = None,
) -> float:
    """Submits each sequence at its arrival, mid-step too, and steps till none is left; returns the end (s).

    in_system is filled with (time, sequences waiting and running) after every change.
    """
    coming = deque(sorted(sequences, key=lambda s: s.arrival_s))

    def note(at_s: float) -> None:
        if in_system is not None:
            in_system.append((at_s, replica.waiting_count + replica.running_count))

    def submit_until(limit_s: float) -> None:
        while coming and coming[0].arrival_s <= limit_s:
            sequence = coming.popleft()
            replica.submit(sequence)
            note(sequence.arrival_s)

    now_s = 0.0
    while True:
        start_s = replica.next_start_s(now_s)
        if coming and (start_s is None or coming[0].arrival_s <= start_s):
            now_s = max(now_s, coming[0].arrival_s)
            submit_until(now_s)
            continue
        if start_s is None:
            return now_s
        step = replica.start_step(start_s)
        assert step is not None
        submit_until(step.end_s)
        emissions = replica.finish_step(step)
        now_s = step.end_s
        note(now_s)
        if on_step is not None:
            on_step(step, emissions)
