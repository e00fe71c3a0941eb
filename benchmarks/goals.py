"""What the instrument must reach, beside what a benchmark measured: a line each, and a JSON object each."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Goal:
    """met: measured <= limit (or >= where at_least); None measured: not met."""

    name: str
    measured: float | None
    limit: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        if self.measured is None:
            return False
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def __str__(self) -> str:
        found = "nothing" if self.measured is None else f"{self.measured:g}"
        sign = ">=" if self.at_least else "<="
        return f"{'met   ' if self.met else 'MISSED'} {self.name}: {found} {sign} {self.limit:g} {self.unit}"


def goals_json(goals: Iterable[Goal]) -> list[dict[str, Any]]:
    return [{**asdict(goal), "met": goal.met} for goal in goals]


def accuracy_goals(
    rows: Mapping[str, Mapping[str, Any]], raw_c: Mapping[str, Mapping[str, Any]], *, thief: bool
) -> list[Goal]:
    """Of meter_accuracy's rows by number of streams; raw_c: the C client's, where it ran."""
    goals = []
    for count, row in rows.items():
        at = f"at {count} streams"
        if thief:
            goals.append(Goal(f"chunks off by more than 1 ms {at}", row["over_1ms_share"] * 100, 0.1, "%"))
            continue
        limit_us = 50.0 if int(count) < 500 else 10.0
        goals += [
            Goal(f"chunk error p99 {at}", row["chunk_error_us"]["p99"], limit_us, "us"),
            Goal(f"ITL error p99 {at}", row["itl_error_us"]["p99"], 10, "us"),
            Goal(f"TTFT error p50 {at}", row["ttft_error_us"]["p50"], 200, "us"),
            Goal(f"missing stamps {at}", row["missing_stamps"], 0, "chunks"),
            Goal(f"coalesced {at}", row["coalesced_share"] * 100, 0.1, "%"),
        ]
        if count in raw_c:
            floor_us = raw_c[count]["ttft_error_us"]["p99"]
            name = f"TTFT error p99 {at}, against 1.2 times the C client's"
            goals.append(Goal(name, row["ttft_error_us"]["p99"], round(1.2 * floor_us, 1), "us"))
        if int(count) >= 2000:
            goals.append(Goal(f"CPU {at}", row["core_s_per_million_chunks"], 11, "core s/million chunks"))
            goals.append(Goal(f"throughput {at}", row["chunks_per_s"], 80_000, "chunks/s", at_least=True))
    return goals


def pacing_goals(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Goal]:
    goals = []
    for rate, by in rows.items():
        ours, at = by["servebench"], f"at {rate}/s"
        floor_us = by["timerfd_c"]["late_us"]["p99"] if "timerfd_c" in by else 0.0
        late, error = ours["late_us"], ours["rate_error"]
        goals += [
            Goal(f"lateness p50 {at}", late["p50"], 150, "us"),
            Goal(f"lateness p99 {at}", late["p99"], round(max(3000.0, 1.2 * floor_us), 1), "us"),
            Goal(f"rate off by {at}", None if error is None else abs(error) * 100, 0.1, "%"),
        ]
    return goals
