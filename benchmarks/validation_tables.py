"""The validation report as text, and as the page docs/ENGINE_VALIDATION.md."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = tuple[str, ...]
Table = tuple[str, Row, list[Row]]  # title, head, rows

GOALS = {
    ("all", "tpot"): (0.12, 0.40),
    ("all", "ttft"): (0.35, None),
    ("held_out", "tpot"): (0.16, None),
    ("held_out", "ttft"): (0.50, None),
}
CALIBRATED_GOAL, ORDER_GOAL, DAY_GOAL = 0.20, 0.85, 0.20


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def goal(limit: float, value: float | None, *, at_least: bool = False) -> str:
    """The limit, and whether it is met."""
    if value is None:
        return f"{100 * limit:.0f} %"
    met = value >= limit if at_least else value <= limit
    return f"{'>=' if at_least else '<='} {100 * limit:.0f} %: {'met' if met else 'MISSED'}"


def summary_rows(result: Mapping[str, Any]) -> Iterator[Row]:
    """What, median absolute error, p90, goal."""
    for part, said in (("all", "all constants"), ("held_out", "family left out of the fit")):
        for metric in ("tpot", "ttft"):
            found, (median, p90) = result[part][metric], GOALS[part, metric]
            told = goal(median, found["median_abs_error"])
            if p90 is not None:
                told += f"; p90 {goal(p90, found['p90_abs_error'])}"
            yield (
                f"{metric.upper()}, {said}",
                percent(found["median_abs_error"]),
                percent(found["p90_abs_error"]),
                told,
            )
    found = result["calibrated_two_constants"]["ttft"]
    told = goal(CALIBRATED_GOAL, found["median_abs_error"])
    yield (
        "TTFT, two constants per model",
        percent(found["median_abs_error"]),
        percent(found["p90_abs_error"]),
        told,
    )


def other_rows(result: Mapping[str, Any]) -> Iterator[Row]:
    """Check, value, goal."""
    names = {"tpot": "TPOT", "held_out_tpot": "TPOT, family left out", "ttft": "TTFT"}
    for name, said in names.items():
        found = result["ranking"][name]
        told = goal(ORDER_GOAL, found["right_order"], at_least=True) if name == "tpot" else "-"
        yield (
            f"right order of {found['pairs']} pairs over 15 % apart, {said}",
            percent(found["right_order"]),
            told,
        )
    for kind, share in result["software_efficiency"].items():
        yield f"software efficiency, {kind}: share of TPOT that peak rates explain", percent(share), "-"
    day = result["deepseek_day"]
    said = f"{day['disclosed_low']:.0f}-{day['disclosed_high']:.0f} disclosed"
    yield (
        f"DeepSeek's day, tokens/s per user, {said}",
        f"{day['tokens_per_s_per_user']:.1f} ({100 * day['error']:+.1f} %)",
        goal(DAY_GOAL, abs(day["error"])),
    )


GROUP_HEAD = ("", "points", "TPOT median", "p90", "bias", "TTFT median", "p90", "bias")


def group_rows(groups: Mapping[str, Any]) -> list[Row]:
    """Name, n, and of each metric: median and p90 absolute error, and the median signed one."""
    rows = []
    for name, found in groups.items():
        cells = [name, str(found["tpot"]["n"])]
        for metric in ("tpot", "ttft"):
            cells += [
                percent(found[metric][key]) for key in ("median_abs_error", "p90_abs_error", "median_error")
            ]
        rows.append(tuple(cells))
    return rows


def constant_rows(constants: Mapping[str, Any]) -> list[Row]:
    """Name, value, range over the left-out fits, prior, bounds."""
    rows: list[tuple[str, ...]] = []
    for name, value in constants["values"].items():
        others, prior = constants["left_out_range"][name], constants["priors"][name]
        rows.append(
            (
                name,
                f"{value:.4g}",
                f"{others[0]:.4g} to {others[1]:.4g}",
                f"{prior['value']:g} (sigma of ln {prior['sigma']:g})",
                f"{prior['low']:g} to {prior['high']:g}",
            )
        )
    return rows


def worst_rows(worst: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [
        (
            point["what"],
            f"{point['tpot_ms'][0]:.1f} / {point['tpot_ms'][1]:.1f}",
            f"{point['ttft_ms'][0]:.0f} / {point['ttft_ms'][1]:.0f}",
        )
        for point in worst
    ]


def tables(result: Mapping[str, Any]) -> Iterator[Table]:
    summary = ("", "median abs error", "p90", "goal")
    yield "Summary", summary, list(summary_rows(result))
    yield "Other checks", ("check", "value", "goal"), list(other_rows(result))
    for title, key in (
        ("By model", "by_model"),
        ("By GPU", "by_gpu"),
        ("By serving stack", "by_backend"),
        ("By concurrency (batch)", "by_batch"),
        ("By prompt and output tokens", "by_lengths"),
    ):
        yield title, GROUP_HEAD, group_rows(result[key])
    yield "Families left out of the fit", GROUP_HEAD, group_rows(result["held_out"]["by_family"])
    worst = ("point", "TPOT measured / computed, ms", "TTFT measured / computed, ms")
    yield "The ten points furthest off in TPOT", worst, worst_rows(result["worst"])
    head = ("constant", "value", "families left out", "prior", "bounds")
    yield "Constants", head, constant_rows(result["constants"])


def left_out_lines(result: Mapping[str, Any]) -> list[str]:
    lines = [f"{count} rows left out: {reason}" for reason, count in result["left_out"].items()]
    return lines or ["No row was left out."]


def text_report(result: Mapping[str, Any]) -> str:
    lines = [f"{result['points']} points; constants {result['constants']['source']}", ""]
    for title, head, rows in tables(result):
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines += [
            title,
            *("  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in (head, *rows)),
            "",
        ]
    return "\n".join(lines + left_out_lines(result))
