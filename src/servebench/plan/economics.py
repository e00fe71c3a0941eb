"""What a tier costs to serve, at its SLO point under a scenario's traffic: one TierEconomics a tier.

One replica's capacity is searched by simulation; a planned peak keeps a fifth of it free, and the mean load
is that peak over the day's swing. Every GPU hour is paid, busy or not:

    $/Mtok = $/replica-h / (mean tokens/s * 0.0036)

and splits into input and output by the GPU seconds that each took in the simulated peak (cost.allocation).
"""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from servebench.catalog.hardware import Gpu
from servebench.catalog.prices import TICKS_PER_USD, PriceSheet, Rates
from servebench.catalog.provenance import Kind
from servebench.catalog.tiers import Tier
from servebench.cost.blend import Mix
from servebench.cost.energy import gpu_draw, kwh_per_mtok
from servebench.cost.serving import break_even_rates, break_even_utilisation, margin, usd_per_mtok
from servebench.engine.step_time import StepTimeModel
from servebench.plan.bands import Band, band
from servebench.plan.binding import what_binds
from servebench.plan.capacity import LOAD_SHARE, Planner
from servebench.plan.costing import StepCosts
from servebench.plan.fleet_size import Fleet, Terms, fleet_for
from servebench.plan.simulated import SimulationResult
from servebench.plan.simulation import simulate
from servebench.plan.slo_point import Lengths, curve, slo_point, tpot_limit_s
from servebench.plan.steady_state import SteadyState

_COSTED_REQUESTS = 1_500  # of the run whose GPU time is allocated
_NO_SPEED = Band(1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens of the simulated mix. kind: published, or MODELLED for a break-even price."""

    usd_per_mtok: Decimal
    rates: Rates
    kind: Kind
    label: str  # "published" or "break-even"


@dataclass(frozen=True, slots=True)
class TierEconomics:
    """One row. tokens count input (cached too) and output; usd are per million of them.

    capacity_rps: arrivals a replica carries within the SLO; tokens_per_s: at that rate. speed_tokens_per_s
    and ttft_s: medians at the planned peak. usd_input and usd_output each divide their own share of the
    hours; usd_fresh: of input that no cache held. binds: what keeps a replica from more.
    """

    tier: Tier
    gpu: Gpu
    terms: Terms
    capacity_rps: float
    tokens_per_s: float
    calls_per_arrival: float
    lengths: Lengths
    speed_tokens_per_s: float
    ttft_s: float
    usd: Decimal
    usd_input: Decimal
    usd_fresh: Decimal
    usd_output: Decimal
    price: Price
    break_even: Rates
    break_even_utilisation: Decimal
    kwh_per_mtok: float
    fleet: Fleet | None
    binds: str
    cost_band: Band
    speed_band: Band
    curve: tuple[SteadyState, ...]

    @property
    def margin(self) -> Decimal:
        """1 - C/P; 0 by construction at a break-even price."""
        if self.price.label != "published":
            return Decimal(0)
        return margin(cost=self.usd, price=self.price.usd_per_mtok)

    @property
    def modelled(self) -> bool:
        return any(source.kind is Kind.MODELLED for source in self.tier.sources.values())

    @property
    def usd_range(self) -> tuple[Decimal, Decimal | None]:
        """Low and high end of the band; None: some end of it has no SLO point at any price."""
        low, high = self.cost_band.high, self.cost_band.low  # more tokens/s: a lower price
        return self.usd / Decimal(low), None if high == 0 else self.usd / Decimal(high)

    @property
    def mix(self) -> Mix:
        return mix_of(self.lengths)

    def curve_usd(self, point: SteadyState) -> Decimal:
        """USD per million tokens of a fleet whose planned peak is this point."""
        return usd_per_mtok(
            usd_per_h=self.tier.serving.gpus * self.gpu.usd_per_gpu_h[self.terms.basis],
            tokens_per_s=point.tokens_per_s,
            utilisation=1 / self.terms.diurnal_peak,
        )


def mix_of(lengths: Lengths) -> Mix:
    ratio = lengths.prompt_tokens / lengths.output_tokens
    return Mix(round(ratio, 6), round(lengths.cached_tokens / lengths.prompt_tokens, 6))


class NoSloPointError(Exception):
    """The tier can't meet the objectives on its replica; the sentence says which one fails."""


def tier_economics(
    planner: Planner,
    terms: Terms,
    *,
    sheet: PriceSheet,
    proportions: Rates,
    demand_rps: float | None = None,
    demand_tokens_per_s: float | None = None,
) -> TierEconomics:
    """Searches, simulates and works out one row. sheet: the tier's own; proportions: of a break-even price.

    Raises NoSloPointError where one replica meets no rate.
    """
    tier, gpu = planner.tier, planner.gpu
    capacity = planner.replica_capacity(cv=terms.arrival_cv, near_rps=_near_rps(planner))
    if capacity.rps <= 0 or capacity.found is None:
        assert capacity.alone is not None
        raise NoSloPointError(f"{tier.id}: {capacity.alone.worst.sentence}")
    result, costs = _costed(planner, capacity.rps * LOAD_SHARE, terms.arrival_cv)
    means = planner.demand().means()
    lengths = _lengths(result)
    tokens_per_s = capacity.rps * means.tokens
    usd_per_h = tier.serving.gpus * gpu.usd_per_gpu_h[terms.basis]
    usd = usd_per_mtok(usd_per_h=usd_per_h, tokens_per_s=tokens_per_s, utilisation=terms.time_sold)
    usd_input, usd_fresh, usd_output = _split(usd, costs, result)
    break_even = break_even_rates(
        usd_per_h=usd_per_h,
        utilisation=terms.time_sold,
        tokens_per_s=tokens_per_s,
        mix=mix_of(lengths),
        proportions=proportions,
    )
    price = _price(sheet, break_even, result)
    cost_band, speed_band = _bands(planner, lengths, result, capacity.rps)
    if demand_tokens_per_s is not None:
        demand_rps = demand_tokens_per_s / means.tokens
    return TierEconomics(
        tier=tier,
        gpu=gpu,
        terms=terms,
        capacity_rps=capacity.rps,
        tokens_per_s=tokens_per_s,
        calls_per_arrival=means.calls,
        lengths=lengths,
        speed_tokens_per_s=1 / float(np.nanmedian(result.tpot_s[result.measured])),
        ttft_s=float(np.median(result.ttft_s[result.measured])),
        usd=usd,
        usd_input=usd_input,
        usd_fresh=usd_fresh,
        usd_output=usd_output,
        price=price,
        break_even=break_even,
        break_even_utilisation=_paying_utilisation(planner, terms, tokens_per_s, price),
        kwh_per_mtok=_kwh_per_mtok(planner, terms, tokens_per_s),
        fleet=None if demand_rps is None else fleet_for(demand_rps, capacity.rps, tier, gpu, terms),
        binds=what_binds(planner, capacity.found.failing_rps, terms.arrival_cv),
        cost_band=cost_band,
        speed_band=speed_band,
        curve=tuple(curve(tier, gpu, lengths)),
    )


def _near_rps(planner: Planner) -> float | None:
    """Where to begin the search: 0.7 of the closed form's rate, that knows no queue; None without one."""
    means = planner.demand().means()
    lengths = Lengths(
        *(n / means.calls for n in (means.prompt_tokens, means.output_tokens, means.repeated_tokens))
    )
    at = slo_point(planner.tier, planner.gpu, lengths, limit_s=tpot_limit_s(planner.slos))
    return None if at is None else 0.7 * at.requests_per_s / means.calls


def _costed(planner: Planner, rate_rps: float, cv: float) -> tuple[SimulationResult, StepCosts]:
    """A run of one replica at the planned peak, and whose its GPU time was."""
    demand = planner.demand()
    least = planner.requests_for(rate_rps) if demand.has_sessions else _COSTED_REQUESTS
    traffic = demand.traffic(least, rate_rps=rate_rps, cv=cv)
    costs = StepCosts(traffic, tier=planner.tier, gpu=planner.gpu)
    result = simulate(
        traffic,
        tier=planner.tier,
        gpu=planner.gpu,
        replicas=1,
        router=planner.router,
        seed=planner.seed,
        observe=costs,
        on_progress=planner.reporter(1, rate_rps),
    )
    return result, costs


def _lengths(result: SimulationResult) -> Lengths:
    """Means of all calls: the measured window cuts the long sessions, whose later prompts are the longest."""
    return Lengths(
        *(float(v.mean()) for v in (result.prompt_tokens, result.output_tokens, result.cached_tokens))
    )


def _kwh_per_mtok(planner: Planner, terms: Terms, tokens_per_s: float) -> float:
    gpus = planner.tier.serving.gpus
    draw = gpu_draw(planner.gpu, utilisation=terms.time_sold)
    return kwh_per_mtok(draw, tokens_per_s=tokens_per_s * terms.time_sold / gpus)


def _paying_utilisation(planner: Planner, terms: Terms, tokens_per_s: float, price: Price) -> Decimal:
    return break_even_utilisation(
        usd_per_gpu_h=planner.gpu.usd_per_gpu_h[terms.basis],
        blend_usd_per_mtok=price.usd_per_mtok,
        tokens_per_s_per_gpu=tokens_per_s / planner.tier.serving.gpus,
    )


def _split(usd: Decimal, costs: StepCosts, result: SimulationResult) -> tuple[Decimal, Decimal, Decimal]:
    """USD per million of input, of fresh input and of output: weighed by their tokens they sum to usd."""
    prefill_s, decode_s = float(costs.time.prefill_s.sum()), float(costs.time.decode_s.sum())
    inputs, outputs = int(result.prompt_tokens.sum()), int(result.output_tokens.sum())
    fresh = inputs - int(result.cached_tokens.sum())
    spent = usd * (inputs + outputs)
    of_prefill = spent * Decimal(prefill_s / (prefill_s + decode_s))
    return of_prefill / inputs, of_prefill / fresh, (spent - of_prefill) / outputs


def _price(sheet: PriceSheet, break_even: Rates, result: SimulationResult) -> Price:
    published = sheet.source.kind is not Kind.MODELLED
    revenue = sum(
        (prompt - cached) * rates.input_ticks + cached * rates.cached_ticks + output * rates.output_ticks
        for prompt, cached, output, rates in (
            (*row, sheet.rates_for(row[0])[0] if published else break_even)
            for row in zip(
                result.prompt_tokens.tolist(),
                result.cached_tokens.tolist(),
                result.output_tokens.tolist(),
                strict=True,
            )
        )
    )
    tokens = int(result.prompt_tokens.sum() + result.output_tokens.sum())
    return Price(
        usd_per_mtok=Decimal(revenue) * 1_000_000 / TICKS_PER_USD / tokens,
        rates=sheet.base if published else break_even,
        kind=sheet.source.kind,
        label="published" if published else "break-even",
    )


def _bands(
    planner: Planner, lengths: Lengths, result: SimulationResult, capacity_rps: float
) -> tuple[Band, Band]:
    """Of tokens/s within the limit (and so of cost, upside down), and of a user's speed at the same batch."""
    gpu, limit_s = planner.gpu, tpot_limit_s(planner.slos)
    residence_s = float(np.nanmean(np.where(np.isfinite(result.e2e_s), result.e2e_s, np.nan)))
    calls = planner.demand().means().calls
    batch = max(1, round(capacity_rps * LOAD_SHARE * calls * residence_s))
    context = lengths.prompt_tokens + lengths.output_tokens / 2

    def tokens_per_s(tier: Tier) -> float | None:
        at = slo_point(tier, gpu, lengths, limit_s=limit_s)
        return None if at is None else at.tokens_per_s

    def speed(tier: Tier) -> float | None:
        model = StepTimeModel(tier.shape, tier.serving, gpu)
        return float(model.tokens_per_s_per_user(batch, int(context)))

    cost_band = band(planner.tier, tokens_per_s) if tokens_per_s(planner.tier) else _NO_SPEED
    return cost_band, band(planner.tier, speed)
