"""A saturated replica in closed form: B sequences always decoding, each that ends replaced by a new one.

Every step B tokens come out, so j = B/(OSL - 1) sequences end and as many prompts are prefilled, all those of
one step together; ends are independent, so a share r = 1 - e^-j of the steps has any, or as many as the
token budget makes of them:

    t_step = (1 - r) step(B, S) + r step(B, S, n = j/r * uncached ISL),   S = B (ISL + OSL/2)
    mu = B / ((OSL - 1) t_step)

It has no queue and no spread of lengths: the second opinion beside the simulation, and exact arithmetic.
"""

import math
from dataclasses import dataclass

from servebench.engine.step_time import StepTimeModel


@dataclass(frozen=True, slots=True)
class SteadyState:
    batch: int
    tpot_s: float
    requests_per_s: float
    tokens_per_s: float  # input (cached too) and output


def steady_state(
    model: StepTimeModel,
    batch: int,
    *,
    prompt_tokens: float,
    output_tokens: float,
    cached_tokens: float = 0.0,
) -> SteadyState:
    """The replica at this batch. Raises ValueError where a step's prompts exceed max_num_batched_tokens."""
    steps = (output_tokens - 1) / model.serving.accepted_tokens
    if steps <= 0:
        raise ValueError("a steady batch needs more than one output token")
    joining = batch / steps
    every_step = joining * (prompt_tokens - cached_tokens)  # prefill tokens in the mean
    limit = model.serving.max_num_batched_tokens
    room = limit - batch * (1 + model.serving.draft_tokens)
    if every_step > room or room < 1:
        raise ValueError(f"batch {batch} needs {every_step:.0f} prefill tokens a step, beyond {limit} in all")
    with_prompts = max(1 - math.exp(-joining), every_step / room)  # a long prompt takes several steps
    prefill = every_step / with_prompts
    context = batch * (prompt_tokens + output_tokens / 2)
    pairs = prefill * (prompt_tokens + cached_tokens) / 2
    fused = model.step(batch, context, prefill_tokens=round(prefill), prefill_pairs=pairs)
    step_s = (1 - with_prompts) * model.step(batch, context).total_s + with_prompts * fused.total_s
    tpot_s = step_s / model.serving.accepted_tokens
    rate = joining / step_s
    return SteadyState(batch, tpot_s, rate, rate * (prompt_tokens + output_tokens))


def largest_batch(
    model: StepTimeModel,
    *,
    tpot_limit_s: float,
    prompt_tokens: float,
    output_tokens: float,
    cached_tokens: float = 0.0,
) -> SteadyState:
    """The steady state of the largest batch whose TPOT is within the limit, at most max_num_seqs and the KV
    pool.

    Raises ValueError where one sequence alone is too slow.
    """
    context = prompt_tokens + output_tokens
    batch = min(model.serving.max_num_seqs, int(model.kv_pool_tokens() / context))
    lengths = {
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "cached_tokens": cached_tokens,
    }
    while batch >= 1:
        try:
            state = steady_state(model, batch, **lengths)
        except ValueError:
            batch -= 1
            continue
        if state.tpot_s <= tpot_limit_s:
            return state
        batch -= 1
    raise ValueError(f"no batch of {context:.0f} tokens keeps TPOT within {tpot_limit_s * 1000:g} ms")
