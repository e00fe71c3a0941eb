"""The validation report as text or as Markdown tables."""

from collections.abc import Iterator, Mapping
from typing import Any

GOALS = {
    ("all", "tpot"): "12 % (p90 40 %)",
    ("all", "ttft"): "35 %",
    ("held_out", "tpot"): "16 %",
    ("held_out", "ttft"): "50 %",
}


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def summary_rows(result: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """What, median, p90, goal."""
    for part, said in (("all", "in sample"), ("held_out", "families left out")):
        for metric in ("tpot", "ttft"):
            found = result[part][metric]
            what = f"{metric.upper()}, {said}"
            yield (
                what,
                percent(found["median_abs_error"]),
                percent(found["p90_abs_error"]),
                GOALS[part, metric],
            )
    found = result["calibrated_two_constants"]["ttft"]
    median, p90 = percent(found["median_abs_error"]), percent(found["p90_abs_error"])
    yield "TTFT, two constants per model", median, p90, "20 %"
    for name, goal in (("tpot", ">= 85 %"), ("held_out_tpot", "-"), ("ttft", "-")):
        found = result["ranking"][name]
        yield f"right order, {name}, {found['pairs']} pairs", percent(found["right_order"]), "-", goal
    day = result["deepseek_day"]
    disclosed = f"{day['disclosed_low']:.0f}-{day['disclosed_high']:.0f}"
    said = f"{day['tokens_per_s_per_user']:.1f} tok/s/user for {disclosed}"
    yield f"DeepSeek's day: {said}", percent(abs(day["error"])), "-", "20 %"


def group_rows(groups: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Name, n, TPOT median, p90, bias, TTFT median, p90, bias."""
    for name, found in groups.items():
        cells = [name, str(found["tpot"]["n"])]
        for metric in ("tpot", "ttft"):
            cells += [
                percent(found[metric][key]) for key in ("median_abs_error", "p90_abs_error", "median_error")
            ]
        yield tuple(cells)


def tables(result: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, head, rows of each table."""
    yield "Summary", ("what", "median abs error", "p90", "goal"), list(summary_rows(result))
    head = ("", "points", "TPOT median", "p90", "bias", "TTFT median", "p90", "bias")
    yield "By model", head, list(group_rows(result["by_model"]))
    yield "By GPU", head, list(group_rows(result["by_gpu"]))
    yield "By stack", head, list(group_rows(result["by_backend"]))
    yield "By concurrency", head, list(group_rows(result["by_batch"]))
    yield "Families left out of the fit", head, list(group_rows(result["held_out"]["by_family"]))
    values = [(name, f"{value:.4g}") for name, value in result["constants"]["values"].items()]
    yield f"Constants ({result['constants']['source']})", ("name", "value"), values


def markdown_report(result: Mapping[str, Any]) -> str:
    lines = []
    for title, head, rows in tables(result):
        lines += [f"## {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    return "\n".join(lines)


def text_report(result: Mapping[str, Any]) -> str:
    lines = []
    for title, head, rows in tables(result):
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines += [
            title,
            *("  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in (head, *rows)),
            "",
        ]
    if result["left_out"]:
        lines += [f"{count} rows left out: {reason}" for reason, count in result["left_out"].items()]
    return "\n".join(lines)
