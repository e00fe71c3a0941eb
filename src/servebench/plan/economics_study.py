"""The whole question for several tiers: every row, every cluster case, and the market's prices at the same
mix.
"""

import datetime
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing import get_context

from servebench.catalog.load import Catalog, load_catalog
from servebench.catalog.market import list_price
from servebench.cost.blend import blend_list_price
from servebench.engine.step_time import StepTimeModel
from servebench.errors import UsageError
from servebench.plan.capacity import Planner
from servebench.plan.cluster import ClusterCase, cluster_case
from servebench.plan.demand_text import Wanted
from servebench.plan.economics import NoSloPointError, TierEconomics, tier_economics
from servebench.plan.fleet_size import Terms
from servebench.plan.objectives import judged
from servebench.plan.search import TOLERANCE
from servebench.plan.slo_point import tpot_limit_s
from servebench.results.slo import parse_slos
from servebench.workload.scenario import Scenario

PROPORTIONS_OF = "grok-4.3"  # whose rates a break-even price keeps in proportion
PREFILL_TOKENS = 100_000  # the prompt by which the preset long-context takes a tier's prefill rate
SESSION_TOLERANCE = 1.15  # of their capacity: each probe of sessions takes many seconds
PROBE_S = 60.0  # simulated seconds of a probe: half of a plan's, for a table of five tiers


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every tier."""

    scenario: Scenario
    tier_ids: tuple[str, ...]
    slo_texts: tuple[str, ...]
    terms: Terms
    demand: Wanted | None
    seed: int
    probe_s: float = PROBE_S  # simulated seconds of a probe of the capacity

    def check(self) -> None:
        """Raises UsageError on limits that are none, or that no simulation can judge."""
        names = [cls.name for cls in self.scenario.classes]
        judged(parse_slos(self.slo_texts, prefill_tokens_per_s=1.0, classes=names))


@dataclass(frozen=True, slots=True)
class MarketPrice:
    """A competitor's list price blended at the same traffic; it says nothing of what serving costs them."""

    name: str
    maker: str
    input_usd: Decimal
    output_usd: Decimal
    blended_usd: Decimal


@dataclass(frozen=True, slots=True)
class Study:
    """rows in the order of the tiers; failed: tier -> why it has no row; cluster: cases per tier."""

    question: Question
    rows: tuple[TierEconomics, ...]
    failed: dict[str, str]
    cluster: dict[str, tuple[ClusterCase, ...]]
    market: tuple[MarketPrice, ...]
    on: datetime.date


def silent(text: str) -> None:
    """Tells nobody."""


def study(
    question: Question,
    *,
    on: datetime.date,
    processes: int,
    done: Callable[[str], None] = silent,
    tell: Callable[[str], None] = silent,
) -> Study:
    """Every tier in a process of its own, `processes` at once. done: hears of each tier that is ready; tell:
    of what is being simulated, in the process that does it.

    Raises UsageError (bad SLO, unknown tier).
    """
    catalog = load_catalog()
    for tier_id in question.tier_ids:
        catalog.tier(tier_id)
    question.check()
    found: dict[str, TierEconomics | str] = {}
    for tier_id, answer in _answers(question, processes, tell):
        found[tier_id] = answer
        done(tier_id)
    rows = tuple(row for t in question.tier_ids if isinstance(row := found[t], TierEconomics))
    return Study(
        question=question,
        rows=rows,
        failed={t: why for t in question.tier_ids if isinstance(why := found[t], str)},
        cluster={row.tier.id: _cases(catalog, question, row) for row in rows},
        market=_market(catalog, rows, on) if rows else (),
        on=on,
    )


def _answers(
    question: Question, processes: int, tell: Callable[[str], None]
) -> Iterable[tuple[str, TierEconomics | str]]:
    if processes <= 1 or len(question.tier_ids) == 1:
        for tier_id in question.tier_ids:
            yield tier_id, answer(question, tier_id, tell)
        return
    with ProcessPoolExecutor(min(processes, len(question.tier_ids)), mp_context=get_context("spawn")) as pool:
        asked = {pool.submit(answer, question, tier_id, tell): tier_id for tier_id in question.tier_ids}
        for future in as_completed(asked):
            yield asked[future], future.result()


def answer(question: Question, tier_id: str, tell: Callable[[str], None] = silent) -> TierEconomics | str:
    """One tier's row, or the sentence that says why it has none."""
    catalog = load_catalog()
    tier = catalog.tier(tier_id)
    gpu = catalog.gpu(tier.serving.gpu_id)
    if question.terms.basis not in gpu.usd_per_gpu_h:
        return f"{tier.id}: no {question.terms.basis} price of a {gpu.name} hour is known"
    model = StepTimeModel(tier.shape, tier.serving, gpu)
    slos = parse_slos(
        question.slo_texts,
        prefill_tokens_per_s=PREFILL_TOKENS / model.prefill_s(PREFILL_TOKENS),
        classes=[cls.name for cls in question.scenario.classes],
    )
    sessions = any(cls.session is not None for cls in question.scenario.classes)
    planner = Planner(
        question.scenario,
        tier=tier,
        gpu=gpu,
        slos=slos,
        seed=question.seed,
        probe_s=question.probe_s,
        tolerance=SESSION_TOLERANCE if sessions else TOLERANCE,
        on_progress=tell,
    )
    demand = question.demand
    try:
        return tier_economics(
            planner,
            question.terms,
            sheet=catalog.price(tier.id),
            proportions=catalog.price(PROPORTIONS_OF).base,
            demand_rps=demand.value if demand is not None and not demand.in_tokens else None,
            demand_tokens_per_s=demand.value if demand is not None and demand.in_tokens else None,
        )
    except (NoSloPointError, UsageError) as error:
        return str(error)


def _cases(catalog: Catalog, question: Question, row: TierEconomics) -> tuple[ClusterCase, ...]:
    model = StepTimeModel(row.tier.shape, row.tier.serving, row.gpu)
    slos = parse_slos(
        question.slo_texts,
        prefill_tokens_per_s=PREFILL_TOKENS / model.prefill_s(PREFILL_TOKENS),
        classes=[cls.name for cls in question.scenario.classes],
    )
    return tuple(
        cluster_case(row, cluster, catalog.gpu(gpu_id), limit_s=tpot_limit_s(slos))
        for cluster in catalog.clusters.values()
        for gpu_id in cluster.gpu_ids
    )


def _market(catalog: Catalog, rows: Sequence[TierEconomics], on: datetime.date) -> tuple[MarketPrice, ...]:
    """At the mix of the first row: cached tokens as its simulation hit them."""
    found = []
    for ref in catalog.references.values():
        if ref.genai_id is None:
            continue
        try:
            price = list_price(*ref.genai_id, on=on)
        except UsageError:  # not on that day
            continue
        blended = blend_list_price(price, rows[0].mix)
        found.append(MarketPrice(ref.name, ref.maker, price.input_usd, price.output_usd, blended))
    return tuple(found)
