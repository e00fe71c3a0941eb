"""After the last record: gather the parts, work out the summary, write every file, choose the exit code.

What only the end needs is imported there, or ahead of it by a master, which has the time: no request waits
for it at the start.
"""

import gc
import json
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servebench import __version__
from servebench.drive.clocks import ClockOffset
from servebench.drive.selfcheck_store import stored_selfcheck
from servebench.drive.settings import RunSettings
from servebench.errors import ServebenchError
from servebench.results.files import write_bytes, write_json
from servebench.results.run_directory import SUMMARY, Run, gather_run

if TYPE_CHECKING:
    from servebench.results.summary import Summary


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What only the conductor knows of a run. finals: by shard, what each handed in at its end."""

    t0_utc: str
    elapsed_s: float
    stopped_s: float | None
    shards: int
    clock_offsets: Mapping[int, ClockOffset]
    finals: Mapping[int, dict[str, Any]]
    late_workers: int
    interrupted: bool
    schedule_hash: str
    planned_requests: int | None
    mode: str
    duration_s: float
    warmup_s: float
    notes: tuple[str, ...]
    stop_reason: str | None = None
    budget: dict[str, Any] | None = None

    def mean_in_flight(self, area: str) -> float | None:
        """Requests under way over the steady window, by one of the shards' areas; None where one is lost."""
        finals = self.finals.values()
        if self._stopped_s() != self.stopped_s:  # the shards counted past the window
            return None
        if len(finals) < self.shards or any(final["in_flight_span_s"] <= 0 for final in finals):
            return None
        return sum(float(final[area]) / float(final["in_flight_span_s"]) for final in finals)

    def _stopped_s(self) -> float | None:
        """Where arrivals ended. Of a run that its money ended: before the first request never sent."""
        held = [final["held_since_s"] for final in self.finals.values()]
        held_s = [float(one) for one in held if one is not None]
        if self.stop_reason is None or self.stopped_s is None or not held_s:
            return self.stopped_s
        return min(self.stopped_s, *held_s)

    def manifest(self, settings: RunSettings) -> dict[str, Any]:
        plan = settings.plan
        return {
            "schema": 1,
            "run_id": settings.run_id,
            "scenario": plan.scenario.model_dump(mode="json"),
            "model": plan.model or plan.scenario.model,
            "target": {"kind": settings.target_kind, "url": settings.target_url},
            "time_scale": settings.time_scale,
            "command": list(settings.command),
            "seed": plan.seed,
            "price_date": settings.price_date,
            "mode": self.mode,
            "rate_rps": plan.rate_rps,
            "users": plan.users,
            "trace": plan.trace.name if plan.trace is not None else None,
            "tokenizer": plan.measure.label,
            "preamble_tokens": plan.preamble_tokens,
            "prompts": plan.prompts.name if plan.prompts is not None else None,
            "duration_s": self.duration_s,
            "warmup_s": self.warmup_s,
            "cooldown_s": settings.cooldown_s,
            "schedule_hash": self.schedule_hash,
            "planned_requests": self.planned_requests,
            "slo": list(settings.slo),
            "goodput": list(settings.goodput),
            "t0_utc": self.t0_utc,
            "elapsed_s": self.elapsed_s,
            "stopped_s": self._stopped_s(),
            "stopped_by_budget": self.stop_reason is not None,
            "stop_reason": self.stop_reason,
            "budget": self.budget,
            "price_sheet": settings.price_sheet,
            "api": plan.api,
            "mean_in_flight": self.mean_in_flight("in_flight_area_s"),
            "mean_in_flight_seen": self.mean_in_flight("in_flight_seen_area_s"),
            "interrupted": self.interrupted,
            "workers": self.shards,
            "missing_workers": [shard for shard in range(self.shards) if shard not in self.finals],
            "late_workers": self.late_workers,
            "clock_offsets_us": {
                str(shard): {"offset": offset.offset_ns / 1e3, "uncertainty": offset.uncertainty_ns / 1e3}
                for shard, offset in sorted(self.clock_offsets.items())
            },
            "shards": {str(shard): final for shard, final in sorted(self.finals.items())},
            "notes": list(self.notes),
            "selfcheck": stored_selfcheck(),
            "host": {
                "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
                "python": sys.version.split()[0],
            },
            "versions": {
                "servebench": __version__,
                **{name: version(name) for name in ("locust", "gevent", "numpy")},
            },
        }


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over: its summary, where it stands, and the exit code it asks for."""

    summary: "Summary"
    run_dir: Path
    exit_code: int
    print_json: bool
    shown: bool  # the summary, while the other files were still to be written

    def show(self) -> None:
        """What is not yet on stdout."""
        if not self.shown:
            show_summary(self.summary, as_json=self.print_json)
        if not self.print_json:
            print(f"run directory: {self.run_dir}   report: {self.run_dir / 'report.html'}")


def import_ahead() -> None:
    """All that finish_run will import."""
    import scipy.special  # noqa: F401 - summarise_run asks it for quantiles

    import servebench.export.ci
    import servebench.export.openmetrics
    import servebench.export.report
    import servebench.export.table
    import servebench.results.summary  # noqa: F401


def show_summary(summary: "Summary", *, as_json: bool) -> None:
    """The table, or the summary as JSON, on stdout at once."""
    from servebench.export.table import print_summary

    if as_json:
        print(json.dumps(summary.to_json(), indent=2))
    else:
        print_summary(summary)
    sys.stdout.flush()


@contextmanager
def _no_collections() -> Iterator[None]:
    """A hundred thousand records are made and none is garbage: looking for some takes a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@_no_collections()
def finish_run(settings: RunSettings, facts: RunFacts) -> Finished:
    """Write summary.json, report.html, metrics.om and what else was asked for. It never touches records.

    Shows the summary as soon as there is one, but under plain `locust`, whose own tables come first. Trouble
    with one output is said and makes the exit code 1; the others are still written.
    """
    from servebench.results.exit_code import exit_code
    from servebench.results.summary import summarise_run

    run_dir = Path(settings.run_dir)
    run = gather_run(run_dir)
    (run_dir / "run.json").unlink(missing_ok=True)  # all of it is in the manifest
    summary = summarise_run(run)
    if settings.own_exit_codes:
        show_summary(summary, as_json=settings.print_json)
    troubles = []
    for write in _outputs(settings, run, summary):
        try:
            write()
        except (OSError, ServebenchError) as error:
            troubles.append(str(error))
            sys.stderr.write(f"servebench: {error}\n")
    code = exit_code(summary, error=bool(troubles))
    return Finished(summary, run_dir, code, settings.print_json, settings.own_exit_codes)


def _outputs(settings: RunSettings, run: Run, summary: "Summary") -> list[Callable[[], object]]:
    from servebench.export import openmetrics, report
    from servebench.export.ci import junit_xml, markdown

    outputs: list[Callable[[], object]] = [
        lambda: write_json(run.path / SUMMARY, summary.to_json()),
        lambda: write_bytes(run.path / report.FILE, report.report_html(run, summary).encode()),
        lambda: write_bytes(run.path / openmetrics.FILE, openmetrics.openmetrics(run).encode()),
    ]
    if settings.junit is not None:
        junit = Path(settings.junit)
        outputs.append(lambda: write_bytes(junit, junit_xml(summary).encode()))
    if settings.markdown is not None:
        page = Path(settings.markdown)
        outputs.append(lambda: write_bytes(page, markdown(summary).encode()))
    return outputs
