"""Traffic: what a fleet will be asked, as vectors of arrivals and lengths. Demand: a scenario's requests
without a rate, so that every probe of a search asks the same requests with the same gaps, only closer
together.
"""

from dataclasses import dataclass
from functools import cached_property
from math import log

import numpy as np
from numpy.typing import NDArray

from servebench.catalog.tiers import Tier
from servebench.errors import UsageError
from servebench.workload.draws import generator, uniforms
from servebench.workload.plan import Workload, WorkloadPlan
from servebench.workload.scenario import Scenario

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Row k is one request, sorted by arrival. output_tokens counts all generated, reasoning included.

    block_keys: per request the keys of the prompt's shared beginning; None where nothing is shared.
    """

    arrival_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    block_keys: tuple[tuple[int, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.arrival_s)


class Demand:
    """The requests of a scenario for a tier, in any number and at any rate; the same for equal seeds.

    Row k is the same request whatever the count. Only the beginnings that requests share are keyed for the
    prefix cache: unique tails could never be hit again, and the memory they would age out of is not modelled.
    """

    def __init__(self, scenario: Scenario, tier: Tier, *, seed: int = 0) -> None:
        self.scenario, self.tier, self.seed = scenario, tier, seed
        self.class_names = tuple(cls.name for cls in scenario.classes)
        self._count = 0

    @cached_property
    def _workload(self) -> Workload:
        # as a closed loop it has requests by id and no schedule: arrivals are this module's
        return WorkloadPlan(
            scenario=self.scenario,
            seed=self.seed,
            model=self.tier.id,
            bytes_per_token=self.tier.bytes_per_token,
            preamble_tokens=self.tier.preamble_tokens,
            context_length_tokens=self.tier.context_length_tokens,
            users=1,
        ).build()

    def _grow(self, count: int) -> None:
        if count <= self._count:
            return
        columns = self._workload.columns(0, count)
        self._class_index = columns.class_index
        self._prompt_tokens = columns.prompt_tokens
        self._output_tokens = self._generated(columns.output_tokens, columns.class_index)
        room = self.tier.context_length_tokens - self._prompt_tokens
        self._output_tokens = np.maximum(1, np.minimum(self._output_tokens, room))
        self._keys = self._shared_keys(columns.prefix, columns.prefix_tokens)
        self._count = count

    def _generated(self, visible: Ints, class_index: Ints) -> Ints:
        """Visible and reasoning tokens, drawn as the tier draws them where the request doesn't say."""
        tier, count = self.tier, len(visible)
        normal = _normal(uniforms(self.seed, "plan/visible", 0, count))
        drawn = np.exp(tier.output_tokens_mu + tier.output_tokens_sigma * normal)
        total = np.where(visible >= 0, visible, np.maximum(1, np.rint(drawn))).astype(np.int64)
        spread = np.exp(
            tier.reasoning_tokens_sigma * _normal(uniforms(self.seed, "plan/reasoning", 0, count))
        )
        for k, cls in enumerate(self.scenario.classes):
            effort = cls.reasoning_effort or tier.default_reasoning_effort
            if effort not in tier.reasoning_tokens:
                raise UsageError(
                    f"class {cls.name}: {tier.id} knows no reasoning_effort {effort!r}; "
                    f"known: {', '.join(tier.reasoning_tokens)}"
                )
            median = tier.reasoning_tokens[effort]
            if median > 0:
                rows = class_index == k
                total[rows] += np.rint(np.exp(log(median)) * spread[rows]).astype(np.int64)
        return total

    def _shared_keys(self, prefix: Ints, prefix_tokens: Ints) -> tuple[tuple[int, ...], ...]:
        block, preamble = self.tier.serving.block_tokens, self.tier.preamble_tokens
        common = tuple(range(preamble // block))
        known: dict[tuple[int, int, int], tuple[int, ...]] = {}
        keys = []
        for cls, variant, tokens in zip(
            self._class_index.tolist(), prefix.tolist(), prefix_tokens.tolist(), strict=True
        ):
            if variant < 0:
                keys.append(common)
                continue
            name = (cls, variant, tokens)
            if name not in known:
                start = (1 + cls << 56) + (1 + variant << 32)
                known[name] = common + tuple(range(start, start + (preamble + tokens) // block - len(common)))
            keys.append(known[name])
        return tuple(keys)

    def traffic(self, count: int, *, rate_rps: float, cv: float) -> Traffic:
        """count requests at a mean rate; gaps are Gamma of this coefficient of variation (0: constant)."""
        self._grow(count)
        return Traffic(
            arrival_s=np.cumsum(self._gaps(count, cv)) / rate_rps,
            prompt_tokens=self._prompt_tokens[:count],
            output_tokens=self._output_tokens[:count],
            block_keys=self._keys[:count],
        )

    def class_of(self, count: int) -> Ints:
        self._grow(count)
        return self._class_index[:count]

    def means(self, count: int = 2_000) -> tuple[float, float]:
        """Mean prompt and generated tokens of a request."""
        self._grow(count)
        return float(self._prompt_tokens[:count].mean()), float(self._output_tokens[:count].mean())

    def _gaps(self, count: int, cv: float) -> Floats:
        if cv == 0:
            return np.ones(count)
        shape = cv**-2.0
        gaps: Floats = generator(self.seed, "plan/gaps").standard_gamma(shape, size=count) / shape
        return gaps


def _normal(u: Floats) -> Floats:
    from scipy.special import ndtri  # heavy, and only for what the tier itself draws

    return np.asarray(ndtri(u))
