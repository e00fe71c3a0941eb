"""Mooncake's trace replayed against the live mock: the share of prompt tokens that its cache really hits.

    python benchmarks/mooncake_replay.py TRACE.jsonl [...] [--speed 20] [--seconds S] [--json]

The mock's KV pool holds all that the traces bring, so its cache never evicts. Its clock and the trace run
at `speed` times real time. Answers are cut to `output-tokens`, which no prompt depends on: one by default,
for at twenty times real time tokens leave half a millisecond apart, and a run is INVALID where chunks share
a read. What is expected is counted here from the file's hash_ids alone, with no code of servebench: leading
blocks of 512 tokens that an earlier request had. A prompt below the hidden preamble is raised to it; how
many is told.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from servebench.drive.launch import start_mock

SCENARIO = """\
name: mooncake
load: {rate_rps: 1, duration_s: 1}
classes: [{name: prompt, input_tokens: 1000, output_tokens: 8, reasoning_effort: none}]
"""


def rows_of(path: Path, seconds: float | None) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    rows.sort(key=lambda row: row["timestamp"])  # stable, as servebench sorts
    first = rows[0]["timestamp"]
    return [row for row in rows if seconds is None or row["timestamp"] - first < seconds * 1000]


def expected_share(rows: list[dict[str, Any]]) -> float:
    """Tokens in leading blocks that came before, of all tokens."""
    seen: set[int] = set()
    hit = 0
    for row in rows:
        known = 0
        for block in row["hash_ids"]:
            if block not in seen:
                break
            known += 1
        hit += min(512 * known, row["input_length"])
        seen |= set(row["hash_ids"])
    return float(hit / sum(row["input_length"] for row in rows))


def replay(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    rows = rows_of(path, options.seconds)
    expected = expected_share(rows)
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        (room / "mooncake.yaml").write_text(SCENARIO)
        cut = [{**row, "output_length": min(row["output_length"], options.output_tokens)} for row in rows]
        (room / "trace.jsonl").write_text("\n".join(map(json.dumps, cut)))
        mock = start_mock(["--tier", "grok-4.3", "--time-scale", str(options.speed)])
        try:
            command = [
                sys.executable, "-m", "servebench", "run", "mooncake.yaml", "--trace", "trace.jsonl",
                "--trace-speed", str(options.speed), "--target", mock.url,
                "--processes", str(options.processes), "--out", "r",
            ]  # fmt: skip
            done = subprocess.run(command, cwd=room, stdout=subprocess.DEVNULL, check=False)
        finally:
            mock.stop()
        facts = json.loads((room / "r" / "manifest.json").read_text())
        summary = json.loads((room / "r" / "summary.json").read_text())
        records = [json.loads(line) for line in (room / "r" / "requests.jsonl").read_text().splitlines()]
    ok = [record for record in records if record["outcome"] == "success"]
    prompt = sum(record["prompt_tokens"] for record in ok)
    measured = sum(record["cached_tokens"] for record in ok) / prompt
    lag = summary["classes"]["all"]["client_lag_s"]
    return {
        "trace": path.name,
        "requests": len(records),
        "failed": len(records) - len(ok),
        "prompt_tokens": prompt,
        "speed": options.speed,
        "expected_share": expected,
        "measured_share": measured,
        "points_apart": 100 * (measured - expected),
        "within_2_points": abs(measured - expected) <= 0.02,
        "exit_code": done.returncode,
        "valid": summary["valid"],
        "invalid_reasons": summary["invalid_reasons"],
        "client_lag_ms": {p: 1e3 * (lag[p] or 0) for p in ("p50", "p99")},
        "notes": facts["notes"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("traces", nargs="+", type=Path)
    parser.add_argument("--speed", type=float, default=20.0, help="times real time")
    parser.add_argument("--processes", type=int, default=0, help="workers; 0: one process does it all")
    parser.add_argument("--seconds", type=float, help="of the trace's own time (default: all)")
    parser.add_argument("--output-tokens", type=int, default=1, help="at most, of each answer")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for path in options.traces:
        results.append(one := replay(path, options))
        if not options.json:
            print(
                f"{one['trace']}: {one['requests']:,} requests ({one['failed']} failed), expected "
                f"{one['expected_share']:.2%}, measured {one['measured_share']:.2%}: "
                f"{one['points_apart']:+.2f} points; {'VALID' if one['valid'] else one['invalid_reasons']}, "
                f"client lag p99 {one['client_lag_ms']['p99']:.1f} ms",
                flush=True,
            )
    if options.json:
        print(json.dumps(results, indent=2))
    return 0 if all(one["within_2_points"] and not one["failed"] for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
