"""A tier profile fitted to a measured run: the engine in virtual time inside a least-squares fit.

Five numbers of a serving profile go with five things that a run shows:

    ttft_floor_s          TTFT of short prompts in an idle server: host, and the network there and back
    mfu, mfu_expert, mfu_attention (together)      how TTFT grows with the uncached prompt: the prefill rate
    layer_latency_s       TPOT of a small batch
    sequence_overhead_s   how TPOT grows with the sequences in flight
    hbm_efficiency        how it grows with their contexts

Each trial replays the run's sends and lengths through the scheduler and compares every request's TTFT and
TPOT (logarithms) and their percentiles; a weak prior holds what the run can't tell near the base profile,
and such numbers are named. Everything else (shape, KV, limits, noise) stays as the base has it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servebench.catalog.hardware import Gpu
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.tiers import ServingProfile, Tier
from servebench.plan.measured_load import Floats, MeasuredLoad
from servebench.plan.simulation import SimulationResult, simulate

QUANTILES = (0.5, 0.9, 0.95)
STEP = 0.2  # of a logarithm, for slopes: discrete events make smaller ones noisy
PRIOR_WEIGHT = 0.01
QUANTILE_WEIGHT = 0.5
MAX_TRIALS = 25  # of the fit, besides those for slopes
GROUPS = 6  # of requests, by size or load
FAR = 1.0  # a row off by more than e counts no more than that
TOLD = 0.02  # a number that moves the fit by less than this for a factor of e is not told by the run
_LOW, _HIGH = -3.0, 3.0  # of ln(factor): a twentieth to twenty times the base


@dataclass(frozen=True, slots=True)
class Knob:
    """One number of the fit: the fields that it scales together. most: what they may not pass."""

    name: str
    fields: tuple[str, ...]
    meaning: str
    most: float = float("inf")


KNOBS = (
    Knob("ttft_floor_s", ("ttft_floor_s",), "fixed TTFT: host and network"),
    Knob("mfu", ("mfu", "mfu_expert", "mfu_attention"), "prefill rate", most=1.0),
    Knob("layer_latency_s", ("layer_latency_s",), "step time of a small batch"),
    Knob("sequence_overhead_s", ("sequence_overhead_s",), "step time per sequence in flight"),
    Knob("hbm_efficiency", ("hbm_efficiency",), "step time per context token", most=1.0),
)


@dataclass(frozen=True, slots=True)
class Errors:
    """The replay against the run. median_abs: of requests, relative. quantiles: replay over run - 1."""

    median_abs: float
    quantiles: Mapping[float, float]
    n: int


@dataclass(frozen=True, slots=True)
class RunFit:
    """factors: of each knob on the base profile. untold: knobs that the run says nothing about."""

    tier: Tier
    factors: Mapping[str, float]
    untold: tuple[str, ...]
    at_limit: tuple[str, ...]
    ttft: Errors
    tpot: Errors
    by_load: tuple[tuple[float, float, float], ...]  # in flight, median TPOT: run's, replay's
    before_ttft: Errors
    before_tpot: Errors
    trials: int


def fit_run(
    load: MeasuredLoad,
    tier: Tier,
    gpu: Gpu,
    *,
    replicas: int = 1,
    seed: int = 0,
    on_trial: Callable[[int, float], None] = lambda trial, error: None,
) -> RunFit:
    """tier: the base. on_trial: gets the number of each simulation and its error (root mean square)."""
    fit = _Fit(load, tier, gpu, replicas=replicas, seed=seed, on_trial=on_trial)
    before = fit.replay(np.zeros(len(KNOBS)))
    solution, slopes = fit.solve()
    after = fit.replay(solution)
    # of the fit itself, without the prior's own rows
    told = np.sqrt((slopes[: -len(KNOBS)] ** 2).sum(axis=0)) >= TOLD
    low, high = fit.bounds
    at_limit = [
        knob.name
        for knob, x, floor, top in zip(KNOBS, solution, low, high, strict=True)
        if min(x - floor, top - x) < 1e-3
    ]
    return RunFit(
        tier=with_factors(tier, solution),
        factors={knob.name: exp(x) for knob, x in zip(KNOBS, solution, strict=True)},
        untold=tuple(knob.name for knob, known in zip(KNOBS, told, strict=True) if not known),
        at_limit=tuple(at_limit),
        ttft=errors(after.ttft_s, load.ttft_s),
        tpot=errors(after.tpot_s, load.tpot_s),
        by_load=_by_load(load, after.tpot_s),
        before_ttft=errors(before.ttft_s, load.ttft_s),
        before_tpot=errors(before.tpot_s, load.tpot_s),
        trials=fit.trials,
    )


def with_factors(tier: Tier, logarithms: Floats) -> Tier:
    """The tier with each knob's fields times exp(its logarithm)."""
    changed: dict[str, float] = {}
    for knob, x in zip(KNOBS, logarithms, strict=True):
        for name in knob.fields:
            changed[name] = min(knob.most, getattr(tier.serving, name) * exp(x))
    serving: ServingProfile = replace(tier.serving, **changed)  # type: ignore[arg-type]
    return replace(tier, serving=serving)


def cited(found: RunFit, base: Tier, *, run_id: str, date: str) -> Tier:
    """The fitted tier with its sources: derived from the run, where the run told; else the base's own."""
    sources = {name: source for name, source in found.tier.sources.items() if name != "operating_point"}
    serving = found.tier.serving
    for knob in KNOBS:
        if knob.name in found.untold:
            serving = replace(serving, **{name: getattr(base.serving, name) for name in knob.fields})
            continue
        for name in knob.fields:
            factor = getattr(serving, name) / getattr(base.serving, name)
            text = f"fitted to the run {run_id} ({knob.meaning}): {factor:.3g} times the base profile's"
            sources[name] = Source(Kind.DERIVED, text, date)
    return replace(found.tier, serving=serving, sources=sources, solved=None, operating_point=None)


def errors(simulated: Floats, measured: Floats) -> Errors:
    """Over the rows that have both."""
    rows = np.isfinite(measured) & np.isfinite(simulated) & (measured > 0)
    ours, theirs = simulated[rows], measured[rows]
    quantiles = {q: float(_quantile(ours, q) / _quantile(theirs, q) - 1) for q in QUANTILES}
    return Errors(float(np.median(np.abs(ours / theirs - 1))), quantiles, len(ours))


def _by_load(load: MeasuredLoad, simulated: Floats) -> tuple[tuple[float, float, float], ...]:
    together = load.in_flight()
    return tuple(
        (
            float(np.median(together[rows])),
            float(np.median(load.tpot_s[rows])),
            float(np.median(simulated[rows])),
        )
        for rows in groups(together, load.tpot_s)
    )


def _quantile(values: Floats, q: float) -> float:
    return float(np.quantile(values, q, method="inverted_cdf"))


class _Fit:
    def __init__(
        self,
        load: MeasuredLoad,
        tier: Tier,
        gpu: Gpu,
        *,
        replicas: int,
        seed: int,
        on_trial: Callable[[int, float], None],
    ) -> None:
        self.load, self.tier, self.gpu, self.replicas, self.seed = load, tier, gpu, replicas, seed
        self._on_trial = on_trial
        self._traffic, self._keys = load.traffic(block_tokens=tier.serving.block_tokens)
        self._known: dict[bytes, Floats] = {}
        self.trials = 0
        contexts = load.prompt_tokens + load.output_tokens / 2
        fresh = load.prompt_tokens - load.cached_tokens
        together = load.in_flight()
        self._ttft_groups = [groups(by, load.ttft_s) for by in (fresh, together)]
        self._tpot_groups = [groups(by, load.tpot_s) for by in (together, contexts)]

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        high = [
            min(_HIGH, *(float(np.log(knob.most / getattr(self.tier.serving, name))) for name in knob.fields))
            for knob in KNOBS
        ]
        return np.full(len(KNOBS), _LOW), np.array(high)

    def replay(self, logarithms: Floats) -> SimulationResult:
        return simulate(
            self._traffic,
            tier=with_factors(self.tier, logarithms),
            gpu=self.gpu,
            replicas=self.replicas,
            seed=self.seed,
            warm_keys=self._keys,
        )

    def residuals(self, logarithms: Floats) -> Floats:
        key = logarithms.tobytes()
        if key not in self._known:
            result = self.replay(logarithms)
            parts = [
                *(_in_groups(result.ttft_s, self.load.ttft_s, rows) for rows in self._ttft_groups),
                *(_in_groups(result.tpot_s, self.load.tpot_s, rows) for rows in self._tpot_groups),
                _of_quantiles(result.ttft_s, self.load.ttft_s),
                _of_quantiles(result.tpot_s, self.load.tpot_s),
                PRIOR_WEIGHT * logarithms,
            ]
            self._known[key] = np.concatenate(parts)
            self.trials += 1
            self._on_trial(self.trials, float(np.sqrt((self._known[key] ** 2).sum())))
        return self._known[key]

    def slopes(self, logarithms: Floats) -> Floats:
        at, low, high = self.residuals(logarithms), *self.bounds
        columns = []
        for place in range(len(KNOBS)):
            moved = logarithms.copy()
            step = STEP if logarithms[place] + STEP <= high[place] else -STEP
            moved[place] = max(low[place], logarithms[place] + step)
            columns.append((self.residuals(moved) - at) / (moved[place] - logarithms[place]))
        return np.stack(columns, axis=1)

    def solve(self) -> tuple[Floats, Floats]:
        from scipy.optimize import least_squares

        low, high = self.bounds
        start = np.clip(self._start(), low + 1e-6, high - 1e-6)
        found = least_squares(
            self.residuals,
            start,
            jac=self.slopes,
            bounds=(low, high),
            max_nfev=MAX_TRIALS,
            x_scale="jac",
            xtol=1e-3,
            ftol=1e-5,
        )
        # what moves by steps may have its best point on the way
        best = min(self._known, key=lambda key: float((self._known[key] ** 2).sum()))
        return np.frombuffer(best, dtype=np.float64), np.asarray(found.jac)

    def _start(self) -> Floats:
        """The floor from the fastest TTFTs, the latency per layer from the median TPOT; the rest as it is."""
        start = np.zeros(len(KNOBS))
        result, load = self.replay(start), self.load
        names = [knob.name for knob in KNOBS]
        rows = np.isfinite(load.ttft_s) & np.isfinite(result.ttft_s)
        fast = float(np.quantile(load.ttft_s[rows], 0.05) - np.quantile(result.ttft_s[rows], 0.05))
        floor_s = self.tier.serving.ttft_floor_s
        if floor_s > 0:
            start[names.index("ttft_floor_s")] = np.log(max(floor_s + fast, floor_s / 20) / floor_s)
        rows = np.isfinite(load.tpot_s) & np.isfinite(result.tpot_s)
        slower_s = float(np.median(load.tpot_s[rows]) - np.median(result.tpot_s[rows]))
        tau_s = self.tier.serving.layer_latency_s
        wanted_s = tau_s + slower_s * self.tier.serving.accepted_tokens / self.tier.shape.layers
        start[names.index("layer_latency_s")] = np.log(max(wanted_s, tau_s / 10) / tau_s)
        return start


def groups(by: NDArray[Any], measured: Floats) -> list[NDArray[np.intp]]:
    """The measured rows in GROUPS of about equal size, by rising `by`; fewer where many are equal."""
    rows = np.flatnonzero(np.isfinite(measured) & (measured > 0))
    ordered = rows[np.argsort(by[rows], kind="stable")]
    return [part for part in np.array_split(ordered, GROUPS) if len(part)]


def _in_groups(simulated: Floats, measured: Floats, parts: Sequence[NDArray[np.intp]]) -> Floats:
    """Mean logarithm of the ratio in each group: the phase of a step at which a request happens to come moves
    its own TTFT by a tenth, and averages out."""
    means = []
    for rows in parts:
        ours, theirs = simulated[rows], measured[rows]
        with np.errstate(divide="ignore"):
            ratios = np.where(np.isfinite(ours) & (ours > 0), np.log(ours / theirs), FAR)
        means.append(float(np.clip(ratios, -FAR, FAR).mean()))
    return np.array(means)


def _of_quantiles(simulated: Floats, measured: Floats) -> Floats:
    rows = np.isfinite(measured) & (measured > 0)
    ours, theirs = simulated[rows], measured[rows]
    ours = np.where(np.isfinite(ours) & (ours > 0), ours, theirs * np.exp(FAR))
    return QUANTILE_WEIGHT * np.array([np.log(_quantile(ours, q) / _quantile(theirs, q)) for q in QUANTILES])
