"""How long the two ends of a run take: command to first request, and last request to summary.

    python benchmarks/startup.py [--processes 0,1,2] [--requests 100000] [--runs 5] [--json]

start_s: `servebench run` as a process, from its start to the first send, by the wall clock; on a mock that it
starts itself (`mock`) and on one that runs already (`url`). Bodies, plan and workers are the real ones.
summary_s and exit_s: from the last request's end to summary.json on disk, and to the end of the command.
finish_s: the same work as at a run's end, step by step, on a generated run directory of --requests records
with 40 chunks each, in a fresh process.
"""

import argparse
import gc
import json
import shutil
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from goals import Goal, goals_json

from servebench.drive.launch import start_mock
from servebench.meter.record import Outcome, RequestRecord
from servebench.results.files import write_json
from servebench.results.parts import PartWriter
from servebench.results.run_directory import gather_run, read_run, write_manifest

CHUNKS = 40


def one_run(target: str, processes: int, out: Path) -> dict[str, float]:
    """A run of two seconds at 50 requests/s; its ends in seconds."""
    command = [
        sys.executable, "-m", "servebench", "run", "chat", "--target", target, "--rate", "50",
        "--duration", "2", "--processes", str(processes), "--out", str(out), "--seed", "1",
    ]  # fmt: skip
    began = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ended = time.time()
    if not (out / "summary.json").exists():
        raise SystemExit(f"the run failed ({done.returncode}): {done.stderr[-500:]}")
    run = read_run(out)
    t0 = datetime.fromisoformat(run.manifest["t0_utc"]).timestamp()
    sent = [record.sent_ns for record in run.records if record.sent_ns is not None]
    last = max(record.end_ns for record in run.records)
    finished = t0 + last / 1e9
    return {
        "start_s": t0 + min(sent) / 1e9 - began,
        "summary_s": (out / "summary.json").stat().st_mtime - finished,
        "exit_s": ended - finished,
    }


def real_runs(processes: list[int], runs: int) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        mock = start_mock(["--tier", "grok-4.3", "--replicas", "4"])
        try:
            for count in processes:
                for kind, target in (("url", mock.url), ("mock", "mock")):
                    made = [
                        one_run(target, count, Path(scratch) / f"{kind}-{count}-{turn}")
                        for turn in range(runs)
                    ]
                    rows[f"{kind}, --processes {count}"] = {
                        key: round(median(one[key] for one in made), 3) for key in made[0]
                    }
        finally:
            mock.stop()
    return rows


def generate(run_dir: Path, requests: int) -> None:
    """A run as two workers leave it: seeded times, Grok 4.3's usage and bills, 1 % of requests refused."""
    write_manifest(run_dir, {
        "schema": 1, "run_id": run_dir.name, "scenario": {"name": "generated"}, "model": "grok-4.3",
        "mode": "open", "target": {"kind": "mock", "url": "http://127.0.0.1:1"}, "seed": 1, "warmup_s": 0.0,
        "duration_s": requests / 1000, "planned_requests": requests, "workers": 2,
        "t0_utc": "2026-01-01T00:00:00+00:00",
    })  # fmt: skip
    rng = np.random.default_rng(1)
    writers = [PartWriter(run_dir, part) for part in range(2)]
    for number in range(requests):
        failed = rng.random() < 0.01
        gaps_us = (10_000 * rng.lognormal(0, 0.2, 0 if failed else CHUNKS)).astype(np.int32)
        writers[number % 2].write(_record(number, gaps_us, rng), array("i", gaps_us.tobytes()))
    for writer in writers:
        writer.close()


def _record(number: int, gaps_us: Any, rng: np.random.Generator) -> RequestRecord:
    intended_ns = number * 1_000_000
    sent_ns = intended_ns + int(rng.integers(20_000, 100_000))
    if not len(gaps_us):
        return RequestRecord(
            id=number, class_name="chat", session=None, turn=0, model="grok-4.3", intended_ns=intended_ns,
            sent_ns=sent_ns, first_token_ns=None, first_visible_ns=None, last_token_ns=None,
            end_ns=sent_ns + 10_000_000, outcome=Outcome.HTTP_5XX, status=503, cost_usd="0",
            cost_source="estimated",
        )  # fmt: skip
    first_ns, last_ns = sent_ns + int(gaps_us[0]) * 1000, sent_ns + int(gaps_us.sum()) * 1000
    prompt = int(rng.integers(100, 4000))
    ticks = prompt * 12_500 + CHUNKS * 25_000
    return RequestRecord(
        id=number, class_name="chat" if number % 3 else "code", session=None, turn=0, model="grok-4.3",
        intended_ns=intended_ns, sent_ns=sent_ns, first_token_ns=first_ns, first_visible_ns=first_ns,
        last_token_ns=last_ns, end_ns=last_ns + 50_000, outcome=Outcome.SUCCESS, status=200,
        finish_reason="stop", prompt_tokens=prompt, cached_tokens=0, completion_tokens=CHUNKS,
        reasoning_tokens=0, usage_source="usage", chunks=CHUNKS, cost_usd=f"{ticks / 10**10:.10f}",
        cost_source="billed", billed_ticks=ticks,
    )  # fmt: skip


def finish_once(run_dir: Path) -> dict[str, float]:
    """What finish_run does, step by step, in seconds."""
    from servebench.export.openmetrics import openmetrics
    from servebench.export.report import report_html
    from servebench.results.summary import summarise_run

    gc.disable()  # as finish_run does
    taken: dict[str, float] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        taken[name] = time.perf_counter() - began
        return result

    run = step("gather and read", lambda: gather_run(run_dir))
    summary = step("summarise", lambda: summarise_run(run))
    step("summary.json", lambda: write_json(run_dir / "summary.json", summary.to_json()))
    taken["until summary.json"] = sum(taken.values())
    step("report.html", lambda: report_html(run, summary))
    step("metrics.om", lambda: openmetrics(run))
    taken["all"] = taken["until summary.json"] + taken["report.html"] + taken["metrics.om"]
    return taken


def finish_times(requests: int, runs: int) -> dict[str, float]:
    """Each in a fresh process, as a run's end is: nothing is warm."""
    made = []
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "made"
        generate(source, requests)
        for turn in range(runs):
            copy = Path(scratch) / f"copy-{turn}"
            shutil.copytree(source, copy)
            command = [sys.executable, __file__, "--finish-once", str(copy)]
            made.append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
            shutil.rmtree(copy)
    return {key: round(median(one[key] for one in made), 3) for key in made[0]}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--processes", default="0,1,2", help="comma-separated")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--finish-once", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.finish_once is not None:
        print(json.dumps(finish_once(options.finish_once)))
        return 0
    counts = [int(text) for text in options.processes.split(",")]
    result = {"runs": options.runs, "ends": real_runs(counts, options.runs)}
    result |= {"requests": options.requests, "finish_s": finish_times(options.requests, options.runs)}
    goals = [Goal(f"start to first request, {name}", row["start_s"], 2, "s")
             for name, row in result["ends"].items()]  # fmt: skip
    until = Goal(f"summary of {options.requests} requests", result["finish_s"]["until summary.json"], 2, "s")
    goals.append(until)
    if options.json:
        print(json.dumps(result | {"goals": goals_json(goals)}, indent=2))
        return 0
    for name, row in result["ends"].items():
        print(
            f"{name:22} first request after {row['start_s']:.2f} s; last request to summary.json "
            f"{row['summary_s']:.2f} s, to exit {row['exit_s']:.2f} s"
        )
    steps = ", ".join(f"{name} {seconds:.2f}" for name, seconds in result["finish_s"].items())
    print(f"end of a run of {options.requests} requests, s: {steps}")
    print(*goals, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
