"""How far from the engine's times the mock's tokens leave, beside a C server of the same steps in the same
run.

    python benchmarks/emission_timing.py [--setups 200:50:20,200:50,500:50,2000:20] [--tokens 150] [--runs 3]
                                         [--realtime] [--json]

A setup is streams:steps a second, and after another colon the seconds over which the streams begin. Without
them all decode in one batch, so that every step writes to all of them: the middle one waits for half of that.
The mock serves a profile whose step lasts as long as asked at that batch, its noise included; the engine's
own step ends come from /debug/engine. native/sse_server.c has a timer of that period and a chunk encoded
beforehand. native/stream_reader.c reads both, by the kernel's receive stamps. The two take turns.

    late_us: receive stamp - engine time of the token;  itl_off_us: |gap between tokens - the engine's gap|

--realtime: at real-time priority, against neighbours on a shared machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
from native_tools import compiled
from numpy.typing import NDArray

from servebench.catalog.load import load_catalog
from servebench.catalog.profile import profile_text
from servebench.catalog.tiers import OperatingPoint
from servebench.drive.selfcheck import client_core, middle
from servebench.plan.calibration import layer_latency_s

Floats = NDArray[np.float64]
RAMP_S = 0.4
PROMPT_TOKENS = 210
QUANTILES = (50, 99)


def profile_of(streams: int, step_s: float, tokens: int) -> str:
    """Grok 4.3 with room for all streams in a batch, whose step then lasts step_s in the mean."""
    catalog = load_catalog()
    tier = catalog.tier("grok-4.3")
    serving = replace(tier.serving, max_num_seqs=max(256, streams))
    point = OperatingPoint(streams, PROMPT_TOKENS + tokens // 2, 1 / step_s)
    latency_s = layer_latency_s(tier.shape, serving, catalog.gpu(serving.gpu_id), point)
    if latency_s < 0:
        raise SystemExit(f"a step of {streams} sequences can't take as little as {step_s * 1e3:g} ms")
    sources = dict(tier.sources)
    sources["layer_latency_s"] = replace(sources["layer_latency_s"], low=None, high=None)
    serving = replace(serving, layer_latency_s=latency_s)
    return profile_text(replace(tier, serving=serving, sources=sources))


@contextmanager
def server(command: list[str], cpu: int | None, lines: int) -> Iterator[list[str]]:
    """The first lines that it prints; it is killed at the end."""
    pin = ["taskset", "-c", str(cpu)] if cpu is not None else []
    process = subprocess.Popen([*pin, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield [process.stdout.readline().strip() for _ in range(lines)]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@dataclass(frozen=True, slots=True)
class Setup:
    """ramp_s: over which the streams begin; together: all decode at once, and only that time counts."""

    streams: int
    steps_per_s: int
    ramp_s: float
    together: bool

    @classmethod
    def read(cls, text: str) -> "Setup":
        streams, rate, *ramp = text.split(":")
        return cls(int(streams), int(rate), float(ramp[0]) if ramp else RAMP_S, not ramp)


def read_streams(reader: Path, port: int, setup: Setup, tokens: int) -> list[Floats]:
    """Receive times of each stream's events, in seconds of CLOCK_MONOTONIC."""
    body = {
        "model": "grok-4.3",
        "stream": True,
        "max_completion_tokens": tokens,
        "reasoning_effort": "none",
        "messages": [{"role": "user", "content": "how late is a token?"}],
    }
    with tempfile.TemporaryDirectory() as scratch:
        asked, out = Path(scratch) / "body", Path(scratch) / "times"
        asked.write_text(json.dumps(body, separators=(",", ":")), encoding="utf-8")
        ramp_ms = str(round(setup.ramp_s * 1e3))
        command = [str(reader), str(port), str(setup.streams), ramp_ms, str(asked), str(out)]
        subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL)
        flat = np.fromfile(out, dtype=np.int64)
    found, at = [], 0
    while at < len(flat):
        count = int(flat[at])
        found.append(flat[at + 1 : at + 1 + count] / 1e9)
        at += 1 + count
    return found


def lateness(times: Floats, ends: Floats) -> Floats:
    """Receive time less engine time of each token, where one came at every step: the stream began at the last
    step that leaves none of its tokens early."""
    count = len(times)
    first = int(np.searchsorted(ends, times[0], side="right")) - 1
    while first > 0 and (first + count > len(ends) or (times < ends[first : first + count]).any()):
        first -= 1
    late: Floats = times - ends[first : first + count]
    return late


def row_of(streams: list[Floats], ends: Floats, setup: Setup) -> dict[str, Any]:
    """Over all tokens, or those while all streams decode."""
    begun, over = 0.0, float("inf")
    if setup.together:
        begun, over = max(times[0] for times in streams), min(times[-1] for times in streams)
    late, gaps = [], []
    for times in streams:
        one = lateness(times, ends)
        inside = (times >= begun) & (times < over)
        late.append(one[inside])
        gaps.append(np.abs(np.diff(one[inside])))
    return {
        "late_us": quantiles(np.concatenate(late)),
        "itl_off_us": quantiles(np.concatenate(gaps)),
        "tokens": int(sum(len(one) for one in late)),
    }


def quantiles(values: Floats) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(values, q)) * 1e6 for q in QUANTILES}


def of_the_mock(reader: Path, setup: Setup, tokens: int, cpu: int | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        profile = Path(scratch) / "profile.yaml"
        batch = setup.streams
        if not setup.together:
            batch = max(1, round(setup.streams * tokens / setup.steps_per_s / setup.ramp_s))
        profile.write_text(profile_of(batch, 1 / setup.steps_per_s, tokens), encoding="utf-8")
        command = [sys.executable, "-m", "mock_server", "--profile", str(profile)]
        with server(command, cpu, 1) as (line,):
            url = line.removeprefix("listening on ")
            read = read_streams(reader, int(url.rpartition(":")[2]), setup, tokens)
            with urlopen(f"{url}/debug/engine", timeout=30) as answer:
                log = json.load(answer)
    (replica,) = log["models"]["grok-4.3"]
    ends = np.array(replica["step_ends_s"])
    gap_s = np.diff(ends)
    return row_of(read, ends, setup) | {
        "step_ms": float(np.median(gap_s)) * 1e3,
        "slipped_s": log["slipped_s"],
        "handled_late_us": quantiles(np.array(replica["step_late_s"])),
    }


def of_c(program: Path, reader: Path, setup: Setup, tokens: int, cpu: int | None) -> dict[str, Any]:
    with server([str(program), str(round(1e6 / setup.steps_per_s))], cpu, 2) as (listening, first):
        read = read_streams(reader, int(listening.rpartition(":")[2]), setup, tokens)
    rate, start_s = setup.steps_per_s, int(first.split()[-2]) / 1e9
    last_s = max(times[-1] for times in read)
    ends = start_s + np.arange(int((last_s - start_s) * rate) + 2) / rate
    return row_of(read, ends, setup) | {"step_ms": 1e3 / rate}


def shown(setup: str, row: dict[str, Any]) -> str:
    lines = [
        f"{setup:10} {name:5} late us p50 {one['late_us']['p50']:6.0f} p99 {one['late_us']['p99']:6.0f}   "
        f"ITL off by us p50 {one['itl_off_us']['p50']:5.0f} p99 {one['itl_off_us']['p99']:6.0f}   "
        f"step {one['step_ms']:.1f} ms"
        for name, one in row.items()
        if name != "ratio"
    ]
    if "ratio" in row:
        pairs = ", ".join(f"{name} {value:.2f}" for name, value in row["ratio"].items())
        lines.append(f"{setup:10} mock over C: {pairs}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--setups", default="200:50:20,200:50,500:50,2000:20", help="see above")
    parser.add_argument("--tokens", type=int, default=150)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    result: dict[str, Any] = {}
    with client_core() as cpu, compiled("stream_reader") as reader, compiled("sse_server") as program:
        if reader is None or program is None:
            print("emission_timing: needs a C compiler (gcc or cc) for the client and the reference server")
            return 1
        for text in options.setups.split(","):
            setup, mock, reference = Setup.read(text), [], []
            for _ in range(options.runs):
                mock.append(of_the_mock(reader, setup, options.tokens, cpu))
                reference.append(of_c(program, reader, setup, options.tokens, cpu))
            row = {"mock": middle(mock), "c": middle(reference)}
            row["ratio"] = {
                f"{name}_{q}": row["mock"][f"{name}_us"][q] / row["c"][f"{name}_us"][q]
                for name in ("late", "itl_off")
                for q in ("p50", "p99")
            }
            result[text] = row
            if not options.json:
                print(shown(text, row), flush=True)
    if options.json:
        print(json.dumps({"emission": result, "tokens": options.tokens, "runs": options.runs}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
