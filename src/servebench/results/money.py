"""Cost: the dollars of some requests, and how dollars are written."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any


@dataclass(frozen=True, slots=True)
class Cost:
    """Of some requests. usd None: no known cost at all. sources: requests by cost_source, and by_source_usd
    their dollars. component_usd is exact text by component; what the server billed beyond the price sheet is
    "unexplained".

    wasted: paid for nothing, by failed, censored (cut off by the run's end) and retries (attempts before the
    last), and for answers that came too late: slo_miss. checked requests have the server's bill and ours;
    differing of them disagree, by difference_usd in all (the server's less ours).
    """

    usd: Decimal | None
    wasted: Mapping[str, Decimal]
    component_usd: dict[str, str]
    sources: dict[str, int]
    by_source_usd: dict[str, str]
    unknown: int
    requests: int
    good: int
    checked: int
    differing: int
    difference_usd: Decimal

    @property
    def wasted_usd(self) -> Decimal:
        """Of requests that failed or were cut off, and of attempts that another followed."""
        return self.wasted["failed"] + self.wasted["censored"] + self.wasted["retries"]

    @property
    def per_request_usd(self) -> str | None:
        return per(self.usd, self.requests)

    @property
    def per_good_request_usd(self) -> str | None:
        return per(self.usd, self.good)

    def per_mtok_usd(self, tokens: Mapping[str, int]) -> dict[str, str | None]:
        """Dollars per million tokens of each kind, as paid, and of all; reasoning counts as output."""
        parts = {name: Decimal(text) for name, text in self.component_usd.items()}
        output = parts.get("output", Decimal(0)) + parts.get("reasoning", Decimal(0))
        kinds = {
            "input": (parts.get("input"), tokens["input"]),
            "cached_input": (parts.get("cached_input"), tokens["cached_input"]),
            "output": (output if parts else None, tokens["output"] + tokens["reasoning"]),
            "blended": (self.usd, sum(tokens.values())),
        }
        return {name: per_million(amount, count) for name, (amount, count) in kinds.items()}

    def to_json(self, tokens: Mapping[str, int]) -> dict[str, Any]:
        """The money of one class in summary.json."""
        return {
            "cost_usd": None if self.usd is None else plain(self.usd),
            "wasted_usd": plain(self.wasted_usd),
            "wasted_by_usd": {name: plain(amount) for name, amount in self.wasted.items()},
            "cost_components_usd": self.component_usd,
            "cost_sources": self.sources,
            "cost_by_source_usd": self.by_source_usd,
            "usd_per_mtok": self.per_mtok_usd(tokens),
            "usd_per_request": self.per_request_usd,
            "usd_per_good_request": self.per_good_request_usd,
            "bill_check": {
                "checked": self.checked,
                "differing": self.differing,
                "difference_usd": plain(self.difference_usd),
            },
        }


def plain(amount: Decimal) -> str:
    """Exact decimal text without exponent or trailing zeros."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def per_million(amount: Decimal | None, tokens: int) -> str | None:
    """Dollars per million tokens to a millionth; None where undefined."""
    if amount is None or tokens <= 0:
        return None
    with localcontext(prec=60):
        return plain((amount * 1_000_000 / tokens).quantize(Decimal("0.000001")))


def per(amount: Decimal | None, count: int) -> str | None:
    """Dollars each (request, good request, finished task), to a tick; None where undefined."""
    if amount is None or count <= 0:
        return None
    with localcontext(prec=60):
        return plain((amount / count).quantize(Decimal("1e-10")))
