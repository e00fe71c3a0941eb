"""A replica at every batch it can hold, from the step-time formula: the service times of the queueing
formulas.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servebench.engine.step_time import StepTimeModel
from servebench.plan.slo_point import Lengths
from servebench.plan.steady_state import steady_state
from servebench.results.slo import Slo

Floats = NDArray[np.float64]
JUDGED = ("ttft", "service_ttft", "tpot", "interactivity")


@dataclass(frozen=True, slots=True)
class Batches:
    """Row b - 1 is a batch of b calls of mean lengths. tpot_s: with its share of prefill; prefill_s: of one
    prompt among them; service_s: from the first step to the last. floor_s: of TTFT, before the first step.
    """

    tpot_s: Floats
    prefill_s: Floats
    service_s: Floats
    floor_s: float
    prompt_tokens: float

    @classmethod
    def of(cls, model: StepTimeModel, lengths: Lengths) -> "Batches":
        """Up to max_num_seqs, and what the KV pool holds; none where not even one call fits."""
        outputs = max(lengths.output_tokens, 2.0)
        fresh = lengths.prompt_tokens - lengths.cached_tokens
        pool = int(model.kv_pool_tokens() / (lengths.prompt_tokens + lengths.output_tokens))
        tpot_s, prefill_s = [], []
        for batch in range(1, min(model.serving.max_num_seqs, pool) + 1):
            try:
                state = steady_state(
                    model,
                    batch,
                    prompt_tokens=lengths.prompt_tokens,
                    output_tokens=outputs,
                    cached_tokens=lengths.cached_tokens,
                )
            except ValueError:  # more prompts a step than it may hold
                break
            step = model.step(
                batch,
                int(batch * (lengths.prompt_tokens + lengths.output_tokens / 2)),
                prefill_tokens=round(fresh),
                prefill_pairs=fresh * (lengths.prompt_tokens + lengths.cached_tokens) / 2,
            )
            tpot_s.append(state.tpot_s)
            prefill_s.append(step.total_s)
        per_token_s, per_prompt_s = np.array(tpot_s), np.array(prefill_s)
        return cls(
            tpot_s=per_token_s,
            prefill_s=per_prompt_s,
            service_s=per_prompt_s + (outputs - 1) * per_token_s,
            floor_s=model.serving.ttft_floor_s,
            prompt_tokens=lengths.prompt_tokens,
        )

    @property
    def places(self) -> int:
        return len(self.tpot_s)

    def keeps_tpot(self, slo: Slo, batch: int) -> bool:
        """Whether the objective on TPOT or interactivity is kept in this batch."""
        tpot_s = float(self.tpot_s[batch - 1])
        return 1 / tpot_s >= slo.limit if slo.metric == "interactivity" else tpot_s <= slo.limit

    def keeps_ttft(self, slo: Slo, batch: int, wait_s: float) -> bool:
        """Whether the objective on TTFT is kept by a prompt that waits so long, then joins this batch."""
        ttft_s = self.floor_s + float(self.prefill_s[batch - 1]) + wait_s
        return ttft_s <= slo.limit + slo.limit_s_per_prompt_token * self.prompt_tokens
