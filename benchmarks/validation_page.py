"""docs/ENGINE_VALIDATION.md: the tables with what they mean, written by engine_validation.py --markdown."""

from collections.abc import Iterator, Mapping
from typing import Any

from validation_tables import GOALS, left_out_lines, percent, tables

INTRODUCTION = """\
# How far the engine's times are from measured ones

Written by `python benchmarks/engine_validation.py --markdown > docs/ENGINE_VALIDATION.md`; nothing here is
typed by hand. The same command with `--json` gives the numbers, over any CSV files of the same columns.

**What is compared.** {points} measured pairs of mean TTFT and TPOT of public serving stacks (vLLM,
TensorRT-LLM, SGLang; aiconfigurator's collection, Apache-2.0), each a closed loop of clients on one
replica. Each is simulated as that closed loop (`engine/closed_loop.py`: burst at the start, chunked prefill
under the stack's token budget, admission by KV memory) over `engine/step_time.py`. That file is the one
step-time model of the project: the mock and the plan run the same formulas, and a test holds the array
form, the scalar form and the replica's scheduler against each other.

**What is fitted.** {constants} global constants, no constant of a model, a row or a source. {source}.
Log errors of TPOT and TTFT (weight 0.4) under a soft L1 loss, since points carry outliers; each constant
has a prior and physical bounds (below). Every third point is fitted to, of those with at most 130 clients:
the others, two thirds of every table here, were not seen by the fit, though the formulas were chosen with all
of them in view. "Family left out" uses, for each family of architectures (DeepSeek R1 and V3 are one), the
constants fitted without that whole family. What public recipes set beside the widths is taken from them,
not fitted: TensorRT-LLM's token budget for DeepSeek, SGLang's polling interval on Blackwell, and a raised
share of memory where the default would not hold the clients.

**How to read it.** Error is |computed/measured - 1|; bias is the median of computed/measured - 1, so that a
negative one means computed too fast. The same configuration measured on another stack version differs by
6 % (TPOT) and 11 % (TTFT) in the median, 38 % and 93 % at p90: below that nothing can be explained.
"""

ASSUMED = """\
## Assumed, neither fitted nor published

0.5 ms of host work a step; all-reduces at 0.4 and all-to-alls at 0.8 of a link's rate; the fullest expert
rank 1.2 times the mean; matrices 256 wide per GPU reach half the mfu; no preemption and no prefix cache in
the closed loop. The KV pool is 0.9 of memory less 4 GB a GPU and the weights.

## What this says of the tiers

A tier (`servebench tiers`) enters the same formulas by its totals instead of a config's widths, with the
constants above for sparse models on Blackwell under vLLM. Grok 4.3's latency per layer is solved from its
published 100 tokens/s instead and comes to {solved:.1f} us; the constants fitted to public models say
{fitted:.1f} us, which is the only outside check of it that there is. Everything above 1.6T parameters, and
any decode at 1M tokens, lies beyond all measured points: MODELLED.
"""


def misses(result: Mapping[str, Any]) -> Iterator[str]:
    """The groups whose median is above the goal of the whole."""
    keys = {"by_model": "model", "by_gpu": "GPU", "by_backend": "stack", "by_lengths": "lengths"}
    for key, said in keys.items():
        for name, found in result[key].items():
            for metric in ("tpot", "ttft"):
                limit, error = GOALS["all", metric][0], found[metric]["median_abs_error"]
                if error > limit:
                    yield (
                        f"{said} {name}: {metric.upper()} {percent(error)} in the median "
                        f"(bias {percent(found[metric]['median_error'])}, {found[metric]['n']} points)"
                    )


def markdown_report(result: Mapping[str, Any]) -> str:
    constants = result["constants"]
    source = constants["source"][:1].upper() + constants["source"][1:]
    lines = [INTRODUCTION.format(points=result["points"], constants=len(constants["values"]), source=source)]
    for title, head, rows in tables(result):
        lines += [f"## {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
        if title == "Other checks":
            lines += ["## Where it misses", "", "Groups whose median is above the goal of the whole:", ""]
            lines += [f"- {line}" for line in misses(result)] or ["- none"]
            lines.append("")
    lines += ["## Rows left out", "", *(f"- {line}" for line in left_out_lines(result)), "", ""]
    return "\n".join(lines) + ASSUMED.format(**result["tier_latency_us"])
