"""Service-level objectives: their texts, their presets, and what each asks of a request.

    ttft p99 < 2s                       99 % of requests get their first token within 2 s
    chat: tpot p95 < 40ms               of class chat only
    ttft p99 < 2s + 100us/token         a limit that grows with the prompt
    interactivity p50 >= 100            half of the requests stream at 100 tokens/s or more
    error_rate < 1%                     of the requests offered
    goodput >= 95%   goodput >= 8 rps   share of the offered requests that are good; good requests a second
    standard                            a preset

Goodput is over the requests *offered*: a failure is bad, and so is an undefined metric.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from servebench.errors import UsageError

LATENCIES = ("ttft", "ttfvt", "tpot", "itl", "e2e", "service_ttft", "client_lag")
REQUEST_METRICS = ("ttft", "ttfvt", "tpot", "e2e", "service_ttft", "interactivity")  # one value a request
METRICS = (*LATENCIES, "interactivity", "error_rate", "goodput")

_ALIASES = {"e2el": "e2e", "errors": "error_rate", "attainment": "goodput", "lag": "client_lag"}
_PER_SECOND = {"us": 1e6, "µs": 1e6, "ms": 1e3, "s": 1.0}  # divided by: 35 ms is 0.035 exactly

_TEXT = re.compile(
    r"""\s*(?:(?P<cls>[\w.\-]+)\s*:\s*)?
    (?P<metric>[A-Za-z_][\w]*)
    (?:\s+p(?P<percent>\d+(?:\.\d+)?))?
    \s*(?P<sign><=|>=|<|>)\s*
    (?P<limit>\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*(?P<unit>%|[A-Za-zµ/]+)?
    (?:\s*\+\s*(?P<slope>\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*(?P<slope_unit>us|µs|ms|s)\s*/\s*(?:prompt_)?token)?\s*""",
    re.VERBOSE,
)

# p99 limits (TTFT ms, TPOT ms). `long-context` depends on the prefill rate, `batch` asks nothing.
_PRESETS_MS = {"interactive": (1500, 15), "standard": (2000, 80)}
PRESETS = ("interactive", "standard", "long-context", "batch")


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective. limit: seconds, or tokens/s (interactivity), or a share, or (is_rate) good requests/s.

    quantile: the share of requests that must meet the limit; None for error_rate and goodput.
    class_name None: every request. limit_s_per_prompt_token is added per prompt token.
    """

    text: str
    metric: str
    quantile: float | None
    limit: float
    at_most: bool
    strict: bool
    class_name: str | None = None
    limit_s_per_prompt_token: float = 0.0
    is_rate: bool = False

    @property
    def required_share(self) -> float | None:
        """The share of the sample that has to be good; None where the objective is a rate."""
        if self.quantile is not None:
            return self.quantile
        if self.is_rate:
            return None
        return 1 - self.limit if self.metric == "error_rate" else self.limit

    @property
    def per_request(self) -> bool:
        """Whether it sets a limit that a single request meets or not."""
        return self.metric in REQUEST_METRICS


@dataclass(frozen=True, slots=True)
class Goodput:
    """What makes a request good besides its success: limits in seconds by metric, all to be met.

    by_class: the limits of classes that have their own, in place of limits_s.
    """

    limits_s: tuple[tuple[str, float], ...]
    by_class: tuple[tuple[str, tuple[tuple[str, float], ...]], ...] = ()

    @property
    def all_limits_s(self) -> tuple[tuple[str, float], ...]:
        return self.limits_s + tuple(limit for _, own in self.by_class for limit in own)


def parse_slo(text: str) -> Slo:
    """One objective. Raises UsageError in one sentence (presets stand for several: parse_slos)."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise UsageError(
            f'SLO "{text}" is not understood; write METRIC pNN < LIMIT, '
            'as in "ttft p99 < 2s" or "chat: tpot p95 < 40ms"'
        )
    metric = _ALIASES.get(match["metric"].lower(), match["metric"].lower())
    if metric not in METRICS:
        raise UsageError(f'SLO "{text}": no metric "{match["metric"]}"; there are {", ".join(METRICS)}')
    quantile = _quantile(text, metric, match["percent"])
    limit, is_rate = _limit(text, metric, float(match["limit"]), match["unit"])
    at_most = match["sign"].startswith("<")
    if at_most == (metric in ("interactivity", "goodput")):
        raise UsageError(f'SLO "{text}": {metric} needs {">=" if at_most else "<="} (or without the "=")')
    slope_s = 0.0
    if match["slope"] is not None:
        if metric not in REQUEST_METRICS or metric == "interactivity":
            raise UsageError(
                f'SLO "{text}": only a latency per request can grow with the prompt, {metric} can not'
            )
        slope_s = float(match["slope"]) / _PER_SECOND[match["slope_unit"]]
    return Slo(
        text=" ".join(text.split()),
        metric=metric,
        quantile=quantile,
        limit=limit,
        at_most=at_most,
        strict="=" not in match["sign"],
        class_name=None if match["cls"] in (None, "all") else match["cls"],
        limit_s_per_prompt_token=slope_s,
        is_rate=is_rate,
    )


def parse_slos(
    texts: Sequence[str], *, prefill_tokens_per_s: float | None = None, classes: Iterable[str] | None = None
) -> tuple[Slo, ...]:
    """Objectives and presets. Raises UsageError with every bad text at once.

    prefill_tokens_per_s: needed by `long-context`. classes: where given, a class prefix must be one of them.
    """
    known = None if classes is None else sorted(set(classes))
    found: list[Slo] = []
    problems: list[str] = []
    for text in texts:
        try:
            if text.strip() in PRESETS:
                found.extend(preset(text.strip(), prefill_tokens_per_s=prefill_tokens_per_s))
                continue
            slo = parse_slo(text)
        except UsageError as error:
            problems.extend(error.problems)
            continue
        if known is not None and slo.class_name is not None and slo.class_name not in known:
            problems.append(
                f'SLO "{text}": the scenario has no class "{slo.class_name}", only {", ".join(known)}'
            )
        found.append(slo)
    if problems:
        raise UsageError(*problems)
    return tuple(dict.fromkeys(found))


def preset(name: str, *, prefill_tokens_per_s: float | None = None) -> tuple[Slo, ...]:
    """The objectives of one preset (p99 of TTFT and TPOT). Raises UsageError."""
    if name in _PRESETS_MS:
        ttft_ms, tpot_ms = _PRESETS_MS[name]
        return parse_slo(f"ttft p99 < {ttft_ms}ms"), parse_slo(f"tpot p99 < {tpot_ms}ms")
    if name == "batch":
        return ()
    if name != "long-context":
        raise UsageError(f'no SLO preset "{name}"; there are {", ".join(PRESETS)}')
    if not prefill_tokens_per_s or prefill_tokens_per_s <= 0:
        raise UsageError(
            "the SLO preset long-context needs the target's prefill rate in tokens/s; where that is not "
            'known write the limit out, as in "ttft p99 < 2s + 100us/token"'
        )
    return (parse_slo(f"ttft p99 < 2s + {1.5e6 / prefill_tokens_per_s:.6g}us/token"),)


def parse_goodput(texts: Sequence[str]) -> Goodput:
    """vLLM's spelling, limits in ms: ["ttft:500", "tpot:50"]. Raises UsageError with all bad texts."""
    limits: dict[str, float] = {}
    problems: list[str] = []
    metrics = tuple(metric for metric in REQUEST_METRICS if metric != "interactivity")
    for text in (part for whole in texts for part in whole.split()):
        name, colon, number = text.partition(":")
        metric = _ALIASES.get(name.lower(), name.lower())
        try:
            limit_ms = float(number)
        except ValueError:
            limit_ms = -1.0
        if not colon or not 0 < limit_ms < float("inf"):
            problems.append(
                f'goodput "{text}" is not understood; write METRIC:MILLISECONDS, as in "ttft:500"'
            )
        elif metric not in metrics:
            problems.append(f'goodput "{text}": no metric "{name}"; there are {", ".join(metrics)}')
        elif metric in limits:
            problems.append(f'goodput "{text}": {metric} has a limit already')
        else:
            limits[metric] = limit_ms / 1000
    if problems:
        raise UsageError(*problems)
    return Goodput(tuple(limits.items()))


def ttft_limit_s(slos: Sequence[Slo], goodput: Goodput | None = None) -> float | None:
    """The tightest TTFT limit that anything asks for; None where nothing does."""
    limits = [slo.limit for slo in slos if slo.metric in ("ttft", "service_ttft")]
    limits += [
        limit
        for metric, limit in (goodput.all_limits_s if goodput else ())
        if metric in ("ttft", "service_ttft")
    ]
    return min(limits, default=None)


def _quantile(text: str, metric: str, percent: str | None) -> float | None:
    if metric in ("error_rate", "goodput"):
        if percent is not None:
            raise UsageError(f'SLO "{text}": {metric} is a share of all requests and takes no percentile')
        return None
    if percent is None:
        raise UsageError(f'SLO "{text}" names no percentile; write it as in "{metric} p99 < ..."')
    quantile = round(float(percent) / 100, 12)
    if not 0 < quantile < 1:
        raise UsageError(f'SLO "{text}": a percentile lies above 0 and below 100')
    return quantile


def _limit(text: str, metric: str, value: float, unit: str | None) -> tuple[float, bool]:
    """(limit in base units, whether it is a rate). Raises UsageError."""
    if metric in LATENCIES:
        if unit not in _PER_SECOND:
            raise UsageError(f'SLO "{text}": a limit for {metric} needs a unit: us, ms or s')
        limit = value / _PER_SECOND[unit]
    elif metric == "interactivity":
        if unit not in (None, "tok/s", "tokens/s", "tps"):
            raise UsageError(f'SLO "{text}": interactivity is in tokens/s')
        limit = value
    elif unit == "rps" and metric == "goodput":
        return _positive(text, value), True
    elif unit == "%" or (unit is None and value <= 1):
        limit = value / 100 if unit == "%" else value
        if not 0 < limit < 1:
            raise UsageError(
                f'SLO "{text}": the share must lie above 0 % and below 100 %; no sample can prove an end'
            )
        return limit, False
    else:
        raise UsageError(
            f'SLO "{text}": write {metric} as a share, 1% or 0.01'
            + (", or a rate in rps" * (metric == "goodput"))
        )
    return _positive(text, limit), False


def _positive(text: str, limit: float) -> float:
    if not 0 < limit < float("inf"):
        raise UsageError(f'SLO "{text}": the limit must be above 0')
    return limit
