"""A PriceSheet as JSON and back: it travels to workers, and stands in the manifest of the run it billed."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from servebench.catalog.prices import PriceSheet, Rates
from servebench.catalog.provenance import Kind, Source


def sheet_to_json(sheet: PriceSheet) -> dict[str, Any]:
    """Ticks as integers, multipliers as text."""
    return {
        "model": sheet.model,
        "as_of": sheet.as_of,
        **{name: _rates_json(getattr(sheet, name)) for name in ("base", "long", "low", "high")},
        "threshold_tokens": sheet.threshold_tokens,
        "threshold_inclusive": sheet.threshold_inclusive,
        "priority_multiplier": _text(sheet.priority_multiplier),
        "batch_multiplier": _text(sheet.batch_multiplier),
        "us_multiplier": _text(sheet.us_multiplier),
        "tool_ticks": dict(sheet.tool_ticks),
        "source": {
            "kind": sheet.source.kind.value,
            "source": sheet.source.source,
            "date": sheet.source.date,
            "note": sheet.source.note,
        },
    }


def sheet_from_json(row: Mapping[str, Any]) -> PriceSheet:
    """The inverse. Raises KeyError, ValueError or TypeError on what sheet_to_json never wrote."""
    base, source = _rates(row["base"]), row["source"]
    if base is None:
        raise ValueError("a price sheet without base rates")
    return PriceSheet(
        model=str(row["model"]),
        as_of=str(row["as_of"]),
        base=base,
        long=_rates(row.get("long")),
        threshold_tokens=row.get("threshold_tokens"),
        threshold_inclusive=bool(row.get("threshold_inclusive", True)),
        priority_multiplier=_decimal(row.get("priority_multiplier")),
        batch_multiplier=_decimal(row.get("batch_multiplier")),
        us_multiplier=_decimal(row.get("us_multiplier")),
        tool_ticks={str(tool): int(ticks) for tool, ticks in (row.get("tool_ticks") or {}).items()},
        source=Source(Kind(source["kind"]), source["source"], source["date"], note=source.get("note", "")),
        low=_rates(row.get("low")),
        high=_rates(row.get("high")),
    )


def _rates_json(rates: Rates | None) -> dict[str, int] | None:
    if rates is None:
        return None
    return {"input": rates.input_ticks, "cached": rates.cached_ticks, "output": rates.output_ticks}


def _rates(row: Mapping[str, Any] | None) -> Rates | None:
    return None if row is None else Rates(int(row["input"]), int(row["cached"]), int(row["output"]))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
