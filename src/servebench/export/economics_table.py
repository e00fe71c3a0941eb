"""The economics of tiers as cells, Markdown and JSON: one wording for the terminal, the page and the file.

MODELLED figures carry their band in the cell; what is published, and what is a break-even price, says so.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from servebench.catalog.provenance import Kind
from servebench.plan.capacity import LOAD_SHARE
from servebench.plan.cluster import ClusterCase
from servebench.plan.economics import TierEconomics
from servebench.plan.economics_study import Study

HEADINGS = (
    "Tier", "tok/s/user", "req/s/replica", "$/Mtok", "in", "out", "price $/Mtok", "margin", "kWh/Mtok",
    "GPUs", "MW", "binds",
)  # fmt: skip
CLUSTER_HEADINGS = (
    "Tier", "all", "replica", "GPUs", "MW", "binds", "req/s", "Mtok/s", "demand: GPUs", "MW", "share",
)  # fmt: skip
MARKET_HEADINGS = ("Model", "Maker", "in", "out", "blended $/Mtok")


def rows(study: Study) -> list[list[str]]:
    """The one table: a line of cells each tier, under HEADINGS."""
    return [_row(row) for row in study.rows]


def _row(row: TierEconomics) -> list[str]:
    serving, fleet = row.tier.serving, row.fleet
    price = f"{dollars(row.price.usd_per_mtok)} {row.price.label}"
    if row.price.kind is Kind.MODELLED:
        price += " (MODELLED)"
    return [
        f"{row.tier.name}, {serving.gpus} x {row.gpu.name}",
        _banded(row, f"{row.speed_tokens_per_s:.3g}", speed_range(row)),
        f"{row.capacity_rps:.3g}",
        _banded(row, dollars(row.usd), usd_range(row)),
        dollars(row.usd_input),
        dollars(row.usd_output),
        price,
        f"{row.margin:.0%}" if row.price.label == "published" else "0 (break-even)",
        f"{row.kwh_per_mtok:.3g}",
        "-" if fleet is None else f"{fleet.gpus:,}",
        "-" if fleet is None else f"{fleet.megawatts:.3g}",
        row.binds,
    ]


def speed_range(row: TierEconomics) -> tuple[str, str]:
    speed, ends = row.speed_tokens_per_s, row.speed_band
    return f"{speed * ends.low:.3g}", f"{speed * ends.high:.3g}"


def usd_range(row: TierEconomics) -> tuple[str, str]:
    low, high = row.usd_range
    return dollars(low), "no SLO point" if high is None else dollars(high)


def _banded(row: TierEconomics, value: str, ends: tuple[str, str]) -> str:
    return f"{value} ({ends[0]}-{ends[1]})" if row.modelled else value


def dollars(usd: Decimal) -> str:
    """Three significant digits, no exponent: 0.0298, 1.29, 10.1."""
    if usd == 0:
        return "0"
    places = max(0, 2 - usd.adjusted())
    return f"{usd:.{places}f}"


def cluster_rows(study: Study) -> list[list[str]]:
    """Each tier on the published cluster, all of one GPU kind, under CLUSTER_HEADINGS."""
    return [
        [row.tier.name, *_cluster_cells(case)] for row in study.rows for case in study.cluster[row.tier.id]
    ]


def _cluster_cells(case: ClusterCase) -> list[str]:
    if not case.gpus_per_replica:
        return [case.gpu.name, "none meets the SLO", *["-"] * 2, case.binds, *["-"] * 5]
    cells = [
        case.gpu.name,
        f"{case.gpus_per_replica} GPUs, {case.replica_rps:.3g} req/s",
        f"{case.replicas * case.gpus_per_replica:,}",
        f"{case.megawatts:.4g}",
        case.binds,
        f"{case.served_rps:,.0f}",
        f"{case.served_tokens_per_s / 1e6:,.3g}",
    ]
    if case.demand_gpus is None or case.demand_share is None or case.demand_megawatts is None:
        return [*cells, "-", "-", "-"]
    return [*cells, f"{case.demand_gpus:,}", f"{case.demand_megawatts:.3g}", f"{case.demand_share:.2%}"]


def market_rows(study: Study) -> list[list[str]]:
    """Competitors' list prices, blended at the traffic of the first tier, under MARKET_HEADINGS."""
    return [
        [m.name, m.maker, dollars(m.input_usd), dollars(m.output_usd), dollars(m.blended_usd)]
        for m in study.market
    ]


def notes(study: Study) -> list[str]:
    """What the figures mean and rest on, a sentence each."""
    question = study.question
    terms = question.terms
    said = [
        f"SLO: {', '.join(question.slo_texts)}. tok/s/user: median at the day's planned peak, which is "
        f"{LOAD_SHARE:.0%} of a replica's capacity at arrival CV {terms.arrival_cv:g}.",
        f"$/Mtok: all GPU hours ({terms.basis}), busy or not, over input (cached too) and output tokens; the "
        f"mean load is the peak over {terms.diurnal_peak:g} (assumed), so {terms.time_sold:.0%} of the "
        "capacity is sold. GPU hours only: no research, no staff. in and out: each its own share of the GPU "
        "time, over its own tokens.",
        "price: xAI's published rates on this traffic, or the rates at which the tier pays for its GPU hours "
        "in the proportions of Grok 4.3's (break-even: nobody has published a price).",
        "kWh and MW: all-in power, losses inside; an idle GPU is taken to draw half (assumed).",
    ]
    if study.rows:
        lengths = study.rows[0].lengths
        said.append(
            f"Traffic: {question.scenario.name}, {lengths.prompt_tokens:,.0f} prompt tokens a call "
            f"({lengths.cached_tokens / lengths.prompt_tokens:.0%} cached), {lengths.output_tokens:,.0f} out."
        )
        calls = study.rows[0].calls_per_arrival
        if calls > 1:
            said.append(f"req/s counts sessions, of {calls:.1f} calls each.")
    if question.demand is not None:
        said.append(
            f"Demand: {question.demand.text}, mean over the day; spares so that 99.9 % of the time enough "
            f"replicas are up at an availability of {terms.availability:g} per 8 GPUs (assumed)."
        )
    said += [f"No row for {why}" for why in study.failed.values()]
    return said


def markdown(study: Study) -> str:
    """The tables and notes as a Markdown file."""
    parts = [f"# What serving costs: {study.question.scenario.name}", _md_table(HEADINGS, rows(study))]
    if study.rows and any(study.cluster.values()):
        name = next(cases[0].cluster.name for cases in study.cluster.values() if cases)
        parts += [f"## On {name}", _md_table(CLUSTER_HEADINGS, cluster_rows(study))]
    if study.market:
        parts += ["## List prices beside it", _md_table(MARKET_HEADINGS, market_rows(study))]
    parts.append("\n".join(f"- {note}" for note in notes(study)))
    return "\n\n".join(parts) + "\n"


def _md_table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "---|" * len(headings)
    return "\n".join([line(headings), rule, *map(line, lines)])


def to_json(study: Study) -> dict[str, Any]:
    """Everything, with units in the names; money as text."""
    question = study.question
    terms = question.terms
    return {
        "schema": 1,
        "scenario": question.scenario.name,
        "slo": list(question.slo_texts),
        "basis": terms.basis,
        "seed": question.seed,
        "arrival_cv": terms.arrival_cv,
        "load_share": LOAD_SHARE,
        "diurnal_peak": terms.diurnal_peak,
        "availability_per_8_gpus": terms.availability,
        "demand": None if question.demand is None else question.demand.text,
        "tiers": [_row_json(row, study.cluster[row.tier.id]) for row in study.rows],
        "without_row": dict(study.failed),
        "market_on": study.on.isoformat(),
        "market": [
            {
                "name": m.name,
                "maker": m.maker,
                "input_usd_per_mtok": text(m.input_usd),
                "output_usd_per_mtok": text(m.output_usd),
                "blended_usd_per_mtok": text(m.blended_usd),
            }
            for m in study.market
        ],
        "notes": notes(study),
    }


def text(usd: Decimal | None) -> str | None:
    return None if usd is None else f"{usd:.6f}"


def _row_json(row: TierEconomics, cases: Sequence[ClusterCase]) -> dict[str, Any]:
    low, high = row.usd_range
    fleet, speed = row.fleet, row.speed_tokens_per_s
    rates = row.break_even
    return {
        "tier": row.tier.id,
        "gpu": row.gpu.id,
        "gpus_per_replica": row.tier.serving.gpus,
        "modelled": row.modelled,
        "capacity_rps_per_replica": row.capacity_rps,
        "calls_per_arrival": row.calls_per_arrival,
        "tokens_per_s_per_user": speed,
        "tokens_per_s_per_user_low": speed * row.speed_band.low,
        "tokens_per_s_per_user_high": speed * row.speed_band.high,
        "ttft_p50_s": row.ttft_s,
        "tokens_per_s_per_gpu": row.tokens_per_s / row.tier.serving.gpus,
        "usd_per_mtok": text(row.usd),
        "usd_per_mtok_low": text(low),
        "usd_per_mtok_high": text(high),
        "usd_per_mtok_input": text(row.usd_input),
        "usd_per_mtok_fresh_input": text(row.usd_fresh),
        "usd_per_mtok_output": text(row.usd_output),
        "price": {
            "label": row.price.label,
            "kind": str(row.price.kind),
            "usd_per_mtok": text(row.price.usd_per_mtok),
        },
        "margin": float(row.margin),
        "break_even_utilisation": float(row.break_even_utilisation),
        "break_even_ticks_per_token": {
            "input": rates.input_ticks,
            "cached": rates.cached_ticks,
            "output": rates.output_ticks,
        },
        "kwh_per_mtok": row.kwh_per_mtok,
        "binds": row.binds,
        "prompt_tokens": row.lengths.prompt_tokens,
        "cached_tokens": row.lengths.cached_tokens,
        "output_tokens": row.lengths.output_tokens,
        "fleet": None
        if fleet is None
        else {
            "demand_rps": fleet.demand_rps,
            "replicas": fleet.replicas,
            "spares": fleet.spares,
            "gpus": fleet.gpus,
            "megawatts": fleet.megawatts,
            "usd_per_h": format(fleet.usd_per_h, "f"),
        },
        "cluster": [_case_json(case) for case in cases],
        "curve": [
            {
                "batch": point.batch,
                "tokens_per_s_per_user": 1 / point.tpot_s,
                "usd_per_mtok": text(row.curve_usd(point)),
            }
            for point in row.curve
        ],
    }


def _case_json(case: ClusterCase) -> dict[str, Any]:
    return {
        "cluster": case.cluster.id,
        "gpu": case.gpu.id,
        "gpus_per_replica": case.gpus_per_replica or None,
        "replica_rps": case.replica_rps,
        "replicas": case.replicas,
        "served_rps": case.served_rps,
        "served_tokens_per_s": case.served_tokens_per_s,
        "binds": case.binds,
        "megawatts": case.megawatts,
        "demand_gpus": case.demand_gpus,
        "demand_megawatts": case.demand_megawatts,
        "demand_share": case.demand_share,
    }
