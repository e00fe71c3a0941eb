"""Prompts of a million tokens end to end on the mock, and what they cost the client.

    python benchmarks/million_tokens.py [--rate 1] [--seconds 30] [--documents 2] [--speed 30] [--json]

Questions on documents of 960,000 tokens, prompts of 990,000: nearly four megabytes of JSON each. The mock's
clock runs at `speed` times real time, so that a cold prompt (a minute on one replica of Grok 4.3, MODELLED)
does not take the whole run. peak_rss_mb: high-water marks of all of the client's processes (master, worker,
metrics), the mock left out; making: one body, encoded.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from servebench.drive.launch import start_mock
from servebench.drive.options import build_plan
from servebench.workload.scenario import load_scenario

SCENARIO = """\
name: million
load: {{rate_rps: {rate}, process: constant, duration_s: {seconds}}}
classes:
  - name: document
    input_tokens: {{dist: uniform, min: 985000, max: 995000}}
    output_tokens: 50
    reasoning_effort: none
    shared_prefix: {{tokens: 960000, share: 1, variants: {documents}}}
"""
LIMIT_MB = 500.0


def tree(root: int) -> list[int]:
    """root and all that it started, by /proc."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = [], [root]
    while todo:
        found.append(pid := todo.pop())
        todo += parents.get(pid, [])
    return found


def peaks_mb(root: int, peaks: dict[int, tuple[str, float]]) -> None:
    """Update the high-water mark of every process of the tree."""
    for pid in tree(root):
        try:
            status = (Path("/proc") / str(pid) / "status").read_text()
            command = (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        marks = [line for line in status.splitlines() if line.startswith("VmHWM")]
        if marks:
            peaks[pid] = (command, float(marks[0].split()[1]) / 1024)


def making_ms(path: Path) -> tuple[float, int]:
    """Time to make one body, and its bytes; the first is warm-up."""
    workload = build_plan(load_scenario(path), model=None, seed=1).build()
    workload.body(0)
    count = min(len(workload.intended_ns), 10)
    began = time.perf_counter()
    for id in range(count):
        size = len(workload.body(id))
    return (time.perf_counter() - began) * 1000 / count, size


def measure(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        text = SCENARIO.format(rate=options.rate, seconds=options.seconds, documents=options.documents)
        (room / "million.yaml").write_text(text)
        made_ms, size = making_ms(room / "million.yaml")
        mock = start_mock(["--tier", "grok-4.3", "--time-scale", str(options.speed)])
        peaks: dict[int, tuple[str, float]] = {}
        try:
            command = [
                sys.executable, "-m", "servebench", "run", "million.yaml", "--target", mock.url,
                "--processes", "1", "--out", "r", "--quiet",
            ]  # fmt: skip
            process = subprocess.Popen(command, cwd=room, stdout=subprocess.DEVNULL)
            while process.poll() is None:
                peaks_mb(process.pid, peaks)
                time.sleep(0.1)
        finally:
            mock.stop()
        summary = json.loads((room / "r" / "summary.json").read_text())
    whole = summary["classes"]["all"]
    tokens = whole["tokens"]
    prompt = tokens["input"] + tokens["cached_input"]
    total = sum(mb for _, mb in peaks.values())
    return {
        "requests": whole["offered"],
        "failed": whole["failed"],
        "mean_prompt_tokens": prompt / max(whole["completed"], 1),
        "cached_share": tokens["cached_input"] / max(prompt, 1),
        "body_bytes": size,
        "making_ms": made_ms,
        "peak_rss_mb": total,
        "limit_mb": LIMIT_MB,
        "processes_mb": [mb for _, mb in sorted(peaks.values())],
        "client_lag_p50_ms": 1000 * (whole["client_lag_s"]["p50"] or 0),
        "speed": options.speed,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rate", type=float, default=1.0, help="requests/s")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--documents", type=int, default=2)
    parser.add_argument("--speed", type=float, default=30.0, help="the mock's clock over real time")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    one = measure(options)
    if options.json:
        print(json.dumps(one, indent=2))
    else:
        print(
            f"{one['requests']} requests of {one['mean_prompt_tokens']:,.0f} tokens, {one['failed']} failed, "
            f"{one['cached_share']:.0%} cached; a body of {one['body_bytes'] / 1e6:.1f} MB is made in "
            f"{one['making_ms']:.1f} ms; client at most {one['peak_rss_mb']:.0f} MB "
            f"({', '.join(f'{mb:.0f}' for mb in one['processes_mb'])})"
        )
    return 0 if not one["failed"] and one["peak_rss_mb"] < LIMIT_MB else 1


if __name__ == "__main__":
    sys.exit(main())
