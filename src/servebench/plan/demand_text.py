"""A demand as people write it: "500", "500 rps", "2M tokens/s"."""

import re
from dataclasses import dataclass

from servebench.errors import UsageError

MOST = 1e12  # past any fleet there could be
_SCALES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
_PATTERN = re.compile(
    r"\s*(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)\s*(?P<scale>[kMGB]?)\s*"
    r"(?P<unit>rps|req/s|requests/s|tok/s|tokens/s|tps|)\s*"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Mean load over the day: requests per second, or tokens per second (input, cached too, and output)."""

    value: float
    in_tokens: bool
    text: str

    def rps(self, tokens_per_request: float) -> float:
        return self.value / tokens_per_request if self.in_tokens else self.value


def parse_demand(text: str) -> Wanted:
    """Raises UsageError, with the forms that are known."""
    found = _PATTERN.fullmatch(text)
    value = float(found["number"]) * _SCALES[found["scale"]] if found else 0.0
    if found is None or not 0 < value <= MOST:
        raise UsageError(
            f"demand {text!r} is no load: give requests a second (500, 500rps, 2k rps) or tokens a second "
            f"(2M tokens/s), above 0 and at most {MOST:.0e}"
        )
    in_tokens = found["unit"] in ("tok/s", "tokens/s", "tps")
    return Wanted(value, in_tokens, f"{value:,.6g} {'tokens' if in_tokens else 'requests'}/s")
