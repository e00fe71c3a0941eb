"""Token truth: prompt tokens as asked, as sent, as billed and as cached, side by side, and what they tell.

    asked    as the scenario, trace or prompts have them
    sent     after what had to give way (preamble, tools, window), by the run's measure of text
    billed   by the server's usage

    billed = preamble + ratio * (sent - declared preamble)      least squares over the requests

The hidden preamble that a provider bills is the line's start, its tokenizer against the measure is the slope.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from servebench.results.columns import Columns

_FIT_FROM = 10  # requests, of at least three lengths


@dataclass(frozen=True, slots=True)
class TokenTruth:
    """Sums over the requests whose usage came, and whose asked and sent tokens are known.

    preamble_tokens and ratio: the fit; None where lengths don't tell. declared_preamble_tokens: part of sent.
    stated_cache_share: what the scenario means to be cached, beside what was.
    """

    requests: int
    asked: int
    sent: int
    billed: int
    cached: int
    stated_cache_share: float | None
    measure: str
    declared_preamble_tokens: int | None
    preamble_tokens: float | None
    ratio: float | None

    @property
    def billed_over_sent(self) -> float | None:
        return self.billed / self.sent if self.sent else None

    @property
    def cached_share(self) -> float | None:
        return self.cached / self.billed if self.billed else None

    def to_json(self) -> dict[str, Any]:
        """The "prompt_tokens" of summary.json."""
        row: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return {**row, "billed_over_sent": self.billed_over_sent, "cached_share": self.cached_share}

    def texts(self) -> list[str]:
        """Lines for people."""
        off = self.billed / self.sent - 1 if self.sent else 0.0
        by = f" by {self.measure}" if self.measure else ""
        lines = [
            f"prompt tokens: asked {self.asked:,}, sent {self.sent:,}{by}, "
            f"billed {self.billed:,} ({off:+.1%})"
        ]
        if self.preamble_tokens is not None and self.ratio is not None:
            meant = self.declared_preamble_tokens
            declared = "" if meant is None else f" ({meant} declared)"
            lines.append(
                f"billed is {self.preamble_tokens:,.0f} tokens of hidden preamble{declared} and "
                f"{self.ratio:.3f} for each token sent"
            )
        if self.cached_share is not None:
            meant_share = "" if self.stated_cache_share is None else f", {self.stated_cache_share:.0%} meant"
            lines.append(f"cached: {self.cached_share:.1%} of the prompt tokens{meant_share}")
        return lines


def token_truth(columns: Columns, manifest: Mapping[str, Any]) -> TokenTruth | None:
    """None where no request tells. The manifest says by which measure and what was meant."""
    at = columns.numbers
    known = [at[name] for name in ("asked_prompt_tokens", "sent_prompt_tokens", "prompt_tokens")]
    tell = columns.by_usage & ~np.isnan(known).any(axis=0)
    asked, sent, billed = (values[tell] for values in known)
    if not len(billed):
        return None
    cached = np.nan_to_num(at["cached_tokens"][tell])
    preamble_tokens = manifest.get("preamble_tokens")
    scenario = manifest.get("scenario")
    own = not manifest.get("trace") and not manifest.get("prompts") and isinstance(scenario, Mapping)
    start = slope = None
    if len(billed) >= _FIT_FROM and len(np.unique(sent)) >= 3:
        slope, start = np.polyfit(sent - (preamble_tokens or 0), billed, 1).tolist()
    return TokenTruth(
        requests=len(billed),
        asked=int(asked.sum()),
        sent=int(sent.sum()),
        billed=int(billed.sum()),
        cached=int(cached.sum()),
        stated_cache_share=scenario.get("cache_share") if own and isinstance(scenario, Mapping) else None,
        measure=str(manifest.get("tokenizer") or ""),
        declared_preamble_tokens=preamble_tokens,
        preamble_tokens=start,
        ratio=slope,
    )
