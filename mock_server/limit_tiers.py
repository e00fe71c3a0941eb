"""Rate limits as data: xAI's tiers by model, from limit_tiers.yaml, which has their source and date."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

LIMIT_TIERS = ("T0", "T1", "T2", "T3", "T4")
_FILE = Path(__file__).with_name("limit_tiers.yaml")


@dataclass(frozen=True, slots=True)
class Limit:
    """requests_per_min is what the headers state; requests_per_s and tokens_per_min are what is enforced."""

    requests_per_s: float
    requests_per_min: int
    tokens_per_min: int


@cache
def limits_of(tier: str) -> dict[str, Limit]:
    """By model id; "" is that of all other models. tier: one of LIMIT_TIERS."""
    data = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    place = data["tiers"].index(tier)
    limits = {
        model: Limit(
            row["requests_per_s"][place],
            row["requests_per_min"]["values"][place],
            row["tokens_per_min"][place],
        )
        for model, row in data["models"].items()
    }
    return limits | {"": limits[data["others"]]}
