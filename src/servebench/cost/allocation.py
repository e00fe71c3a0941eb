"""Whose GPU time was it: every step's seconds go to the requests in it, and the fleet's bill after them.

A step splits between prefill and decode as their own times t_p : t_d; what a step costs anyway (launches, the
host) goes with them. In the decode part each of B sequences pays

    (t_d - attn_d)/B + attn_d ctx_i/S_kv

and in the prefill part each uncached token pays by its FLOP. So a long context pays for what it reads, and
nothing is counted twice: the requests sum to the busy time, to the last bits, and the bill in ticks is
split without a remainder. Idle time stays apart, or goes to all pro rata.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
from numpy.typing import NDArray

from servebench.catalog.prices import TICKS_PER_USD

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StepUse:
    """One step. seconds: as it lasted. decode_s, prefill_s: what each would take alone, fixed costs apart.

    attention_s: the part of decode_s that reads contexts.

    decoding: (request, context tokens) of each sequence; prefilling: (request, FLOP) of each chunk.
    """

    seconds: float
    decode_s: float
    attention_s: float
    prefill_s: float
    decoding: Sequence[tuple[int, int]]
    prefilling: Sequence[tuple[int, float]]


class GpuTime:
    """GPU seconds (of a whole replica) by request: rows 0..requests - 1. Adds up step by step."""

    def __init__(self, requests: int) -> None:
        self.prefill_s: Floats = np.zeros(requests)
        self.decode_s: Floats = np.zeros(requests)

    @property
    def total_s(self) -> Floats:
        return self.prefill_s + self.decode_s

    def add(self, use: StepUse) -> None:
        """Raises ValueError where a step has nobody to pay for it."""
        own_s = use.decode_s + use.prefill_s
        if not use.decoding and not use.prefilling:
            raise ValueError("a step without sequences has nobody to pay for it")
        if use.decoding and use.prefilling:
            decode_s = use.seconds * (use.decode_s / own_s if own_s > 0 else 0.5)
        else:
            decode_s = use.seconds if use.decoding else 0.0
        if use.decoding:
            self._decode(use, decode_s)
        if use.prefilling:
            self._prefill(use, use.seconds - decode_s)

    def _decode(self, use: StepUse, seconds: float) -> None:
        contexts = sum(context for _, context in use.decoding)
        reading_s = seconds * (use.attention_s / use.decode_s) if use.decode_s > 0 else 0.0
        each_s = (seconds - reading_s) / len(use.decoding)
        per_token_s = reading_s / contexts if contexts else 0.0
        for row, context in use.decoding:
            self.decode_s[row] += each_s + per_token_s * context

    def _prefill(self, use: StepUse, seconds: float) -> None:
        flop = sum(flop for _, flop in use.prefilling)
        for row, own in use.prefilling:
            self.prefill_s[row] += seconds * (own / flop if flop > 0 else 1 / len(use.prefilling))


@dataclass(frozen=True, slots=True)
class FleetBill:
    """The fleet's hours in ticks (10^-10 USD), split: prefill and decode of each request, and idle time.

    prefill_ticks.sum() + decode_ticks.sum() + idle_ticks == total_ticks, always.
    """

    total_ticks: int
    prefill_ticks: Ints
    decode_ticks: Ints
    idle_ticks: int

    @property
    def busy_ticks(self) -> int:
        return self.total_ticks - self.idle_ticks

    def usd_per_mtok(self, *, input_tokens: int, output_tokens: int) -> tuple[Decimal, Decimal, Decimal]:
        """Dollars per million tokens of input (cached too), of output, and of all; idle time pro rata.

        Each divides its own share of the hours only: weighed by their tokens they sum to the whole bill.
        """
        busy = self.busy_ticks
        if busy <= 0 or input_tokens <= 0 or output_tokens <= 0:
            raise ValueError("a price per token needs tokens of both kinds and time spent on them")
        scale = Decimal(self.total_ticks) / busy * 1_000_000 / TICKS_PER_USD
        prefill, decode = (Decimal(int(part.sum())) for part in (self.prefill_ticks, self.decode_ticks))
        return (
            prefill * scale / input_tokens,
            decode * scale / output_tokens,
            (prefill + decode) * scale / (input_tokens + output_tokens),
        )


def fleet_bill(time: GpuTime, *, usd_per_h: Decimal, replica_s: float) -> FleetBill:
    """Splits what the fleet costs. usd_per_h: of one replica; replica_s: replicas times the wall time.

    Raises ValueError where more time was used than there was.
    """
    used_s = float(time.total_s.sum())
    if used_s > replica_s * (1 + 1e-9):
        raise ValueError(f"{used_s:g} s were used of {replica_s:g} s of replica time")
    total = Decimal(repr(replica_s)) / 3600 * usd_per_h * TICKS_PER_USD
    ticks = int(total.to_integral_value(rounding=ROUND_HALF_EVEN))
    n = len(time.prefill_s)
    weights = np.concatenate([time.prefill_s, time.decode_s, [max(0.0, replica_s - used_s)]])
    parts = split_ticks(ticks, weights)
    return FleetBill(ticks, parts[:n], parts[n : 2 * n], int(parts[-1]))


def split_ticks(total: int, weights: Floats) -> Ints:
    """Whole ticks in proportion to the weights that sum to the total exactly (at most 2^62).

    The largest remainders take what rounding down leaves. Raises ValueError without a positive weight.
    """
    whole = float(weights.sum())
    if not 0 <= total <= 1 << 62 or not whole > 0 or (weights < 0).any():
        raise ValueError("up to 2^62 ticks are split by weights of at least 0, one of them above it")
    if total > 1 << 52:  # past a double's whole numbers: split in exact pieces
        half = total // 2
        return split_ticks(half, weights) + split_ticks(total - half, weights)
    shares = weights / whole * total
    floors = np.floor(shares).astype(np.int64)
    while (missing := total - int(floors.sum())) > 0:
        floors[np.argsort(floors - shares, kind="stable")[:missing]] += 1
    while missing < 0:  # the last bits of a float: take back where most was given
        floors[np.argsort(shares - floors, kind="stable")[:-missing]] -= 1
        missing = total - int(floors.sum())
    return floors
