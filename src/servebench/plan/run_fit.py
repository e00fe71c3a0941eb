"""A tier profile fitted to a measured run: the engine in virtual time inside a least-squares fit.

Six numbers of a serving profile go with six things that a run shows:

    ttft_floor_s          TTFT of short prompts in an idle server: host, and the network there and back
    mfu, mfu_expert, mfu_attention (together)      how TTFT grows with the uncached prompt: the prefill rate
    layer_latency_s       TPOT of a small batch
    sequence_overhead_s   how TPOT grows with the sequences in flight
    hbm_efficiency, kv_efficiency (together)       how it grows with their contexts
    prefill_layer_latency_s    what a prompt of any size adds to a step, and to the TPOT of others

Each trial replays the run's sends and lengths through the scheduler and compares every request's TTFT and
TPOT (logarithms) and their percentiles; a weak prior holds what the run can't tell near the base profile,
and such numbers are named. Everything else (shape, KV, limits, noise) stays as the base has it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import exp

import numpy as np

from servebench.catalog.hardware import Gpu
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.tiers import ServingProfile, Tier
from servebench.plan.measured_load import Floats, MeasuredLoad
from servebench.plan.replay_errors import Errors, by_load, errors, groups, in_groups, of_quantiles
from servebench.plan.simulation import SimulationResult, simulate

STEP = 0.2  # of a logarithm, for slopes: discrete events make smaller ones noisy
PRIOR_WEIGHT = 0.01
MAX_ROUNDS, MAX_TRIES = 6, 3  # of the fit: slopes taken, and steps tried with each
POLISH = (0.1, 0.05, 0.025)  # of a logarithm
REPLAYS = 3  # of each trial, with other noise: their mean is judged
LAST_REPLAYS = 10  # of the answer: their spread is what two runs of one server differ by
FAR_OFF = 0.5  # root of the squared residuals: a fit that ends there is stuck
REACH = 0.8  # of a logarithm, in one step
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
    Knob("hbm_efficiency", ("hbm_efficiency", "kv_efficiency"), "step time per context token", most=1.0),
    Knob("prefill_layer_latency_s", ("prefill_layer_latency_s",), "what any prompt adds to a step"),
)


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
    before_ttft_s, before_tpot_s = fit.replays(np.zeros(len(KNOBS)))
    solution, slopes = fit.solve()
    ttft_s, tpot_s = fit.replays(solution, LAST_REPLAYS)
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
        ttft=errors(ttft_s, load.ttft_s),
        tpot=errors(tpot_s, load.tpot_s),
        by_load=by_load(load, tpot_s),
        before_ttft=errors(before_ttft_s, load.ttft_s),
        before_tpot=errors(before_tpot_s, load.tpot_s),
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

    def replay(self, logarithms: Floats, number: int = 0) -> SimulationResult:
        """number: each replay has noise of its own."""
        return simulate(
            self._traffic,
            tier=with_factors(self.tier, logarithms),
            gpu=self.gpu,
            replicas=self.replicas,
            seed=self.seed + number,
            warm_keys=self._keys,
        )

    def replays(self, logarithms: Floats, count: int = REPLAYS) -> tuple[Floats, Floats]:
        """TTFT and TPOT, a row each replay."""
        results = [self.replay(logarithms, number) for number in range(count)]
        return np.stack([r.ttft_s for r in results]), np.stack([r.tpot_s for r in results])

    def residuals(self, logarithms: Floats) -> Floats:
        key = logarithms.tobytes()
        if key not in self._known:
            replays = [self._off(self.replay(logarithms, number)) for number in range(REPLAYS)]
            self._known[key] = np.concatenate([np.mean(replays, axis=0), PRIOR_WEIGHT * logarithms])
            self.trials += 1
            self._on_trial(self.trials, float(np.sqrt((self._known[key] ** 2).sum())))
        return self._known[key]

    def _off(self, result: SimulationResult) -> Floats:
        """Logarithms of replay over run: in groups of requests, and of the quantiles."""
        load = self.load
        return np.concatenate(
            [
                *(in_groups(result.ttft_s, load.ttft_s, rows) for rows in self._ttft_groups),
                *(in_groups(result.tpot_s, load.tpot_s, rows) for rows in self._tpot_groups),
                of_quantiles(result.ttft_s, load.ttft_s),
                of_quantiles(result.tpot_s, load.tpot_s),
            ]
        )

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
        """From one start, from the other too where that ends far off; then the best point of all polished.
        Also the slopes there.
        """
        low, high = self.bounds
        for start in self._starts():
            self._descend(np.clip(start, low + 1e-6, high - 1e-6), low, high)
            if self._cost(self._best()) < FAR_OFF**2:
                break
        found = self._polished(self._best(), low, high)
        return found, self.slopes(found)

    def _descend(self, at: Floats, low: Floats, high: Floats) -> None:
        """Levenberg and Marquardt within bounds; the trials are noisy, so a step that fails is damped and
        tried again.
        """
        from scipy.optimize import lsq_linear

        damping, dull = 0.02, 0
        for _ in range(MAX_ROUNDS):
            before, slopes, value = self._cost(at), self.slopes(at), self.residuals(at)
            scale = np.maximum(np.sqrt((slopes**2).sum(axis=0)), TOLD)
            for _ in range(MAX_TRIES):
                rows = np.vstack([slopes, np.diag(damping**0.5 * scale)])
                wanted = np.concatenate([-value, np.zeros(len(KNOBS))])
                least, most = np.maximum(low - at, -REACH), np.minimum(high - at, REACH)
                step = lsq_linear(rows, wanted, bounds=(least - 1e-9, most + 1e-9)).x
                moved = np.clip(at + step, low, high)
                if self._cost(moved) < before:
                    at, damping = moved, damping / 4
                    break
                damping *= 6
            dull = dull + 1 if self._cost(at) > 0.97 * before else 0
            if dull == 2:
                return

    def _polished(self, at: Floats, low: Floats, high: Floats) -> Floats:
        """One number at a time, a little up or down, as long as that helps: where slopes drown in noise."""
        for reach in POLISH:
            for place in range(len(KNOBS)):
                for sign in (1, -1):
                    moved = at.copy()
                    moved[place] = np.clip(at[place] + sign * reach, low[place], high[place])
                    if self._cost(moved) < self._cost(at):
                        at = moved
                        break
        return at

    def _best(self) -> Floats:
        """Of all trials, those for slopes too."""
        best = min(self._known, key=lambda key: float((self._known[key] ** 2).sum()))
        return np.frombuffer(best, dtype=np.float64)

    def _cost(self, logarithms: Floats) -> float:
        return float((self.residuals(logarithms) ** 2).sum())

    def _starts(self) -> tuple[Floats, Floats]:
        """The floor from the fastest TTFTs; besides it the latency per layer from the median TPOT, which says
        little of it where prompts fill most steps. The rest as it is.
        """
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
        slowed = start.copy()
        slowed[names.index("layer_latency_s")] = np.log(max(wanted_s, tau_s / 10) / tau_s)
        return slowed, start
