"""How exact the meter is on this machine: its chunk times against a server that stamps what it sends.

    python benchmarks/meter_accuracy.py [--streams 100,500,1000,2000] [--rate 50] [--seconds 4] [--runs 5]
    [--peers raw-c,aiohttp,geventhttpclient,openai] [--thief] [--realtime] [--json]

The server (servebench.meter.reference_server, plain Python) runs on one core, the client on another. The
streams begin over the length of an answer, and each asks again as soon as it ends: requests come and go
evenly. streams x rate is held to 80,000 chunks/s. error = the client's time of a chunk - the server's time
right before the send, so it includes the send itself (`server_send_us`). Medians over the runs, in which the
clients take turns. raw-c is native/raw_client.c (where a compiler is), the floor for TTFT; its stamps, like
the peers', are user space's. waited_share: for how much of the time the client was ready to run and others
had its core; past a hundredth the tails are theirs.

--thief: a process that takes the client's core for 15 ms of each 60, at real-time priority. --realtime:
server and client too run at (a lower) real-time priority, against neighbours on a shared machine. Both need
the right to it (root or CAP_SYS_NICE).
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from goals import accuracy_goals, goals_json
from native_tools import compiled

from servebench.drive.selfcheck import client_core, middle
from servebench.drive.selfcheck_load import Point, measure_streams
from servebench.drive.selfcheck_truth import Numbers, fetch, quantiles_us, reference_server, sent_streams

MAX_CHUNKS_PER_S = 80_000
_NEEDS = {
    "aiohttp": ("aiohttp", "uvloop"),
    "geventhttpclient": ("geventhttpclient",),
    "openai": ("openai", "httpx2", "uvloop"),
}
_THIEF = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
print("taking", flush=True)
while True:
    until = time.monotonic() + 0.015
    while time.monotonic() < until:
        pass
    time.sleep(0.045)
"""


@contextmanager
def thief(cpu: int) -> Iterator[None]:
    """Takes the core for 15 ms of each 60, whoever wants it."""
    command = [sys.executable, "-c", _THIEF, str(cpu)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "taking\n":
            raise SystemExit("--thief: real-time priority is not allowed here")
        try:
            yield
        finally:
            process.kill()


def run_other(name: str, point: Point, program: Path | None) -> dict[str, Any]:
    """One run of another client; the same keys as the meter's row, as far as it has them."""
    with reference_server(point.server_cpu) as port, tempfile.TemporaryDirectory() as scratch:
        out = str(Path(scratch) / "times")
        asked = [str(point.streams), str(point.seconds), str(point.tokens), str(point.itl_us)]
        if program is not None:
            command = [str(program), str(port), *asked, out]
        else:
            flags = zip(("--streams", "--seconds", "--tokens", "--itl-us"), asked, strict=True)
            command = [sys.executable, str(Path(__file__).with_name("peer_client.py")), name]
            command += ["--port", str(port), "--out", out, *(part for pair in flags for part in pair)]
        began = os.times()
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        wall_s, ended = time.monotonic() - started, os.times()
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr[-400:]}")
        mine, theirs = sent_streams(np.fromfile(out, dtype=np.int64)), sent_streams(fetch(port, "/stamps"))
    chunk: list[Numbers] = []
    itl: list[Numbers] = []
    ttft: list[int] = []
    for call_id, seen in mine.items():
        sent = theirs[call_id]
        if len(seen.stamps_ns) != len(sent.stamps_ns):
            continue
        chunk.append(np.abs(seen.stamps_ns - sent.stamps_ns))
        itl.append(np.abs(np.diff(seen.stamps_ns) - np.diff(sent.stamps_ns)))
        ttft.append(int(seen.stamps_ns[0] - seen.read_ns) - int(sent.stamps_ns[0] - sent.read_ns))
    if not chunk:
        raise SystemExit(f"{name}: none of its {len(mine)} requests came back whole")
    errors = np.concatenate(chunk)
    cpu_s = ended.children_user + ended.children_system - began.children_user - began.children_system
    return {
        "chunk_error_us": quantiles_us(errors),
        "itl_error_us": quantiles_us(np.concatenate(itl)),
        "ttft_error_us": quantiles_us(np.array(ttft)),
        "over_1ms_share": round(float((errors > 1_000_000).mean()), 6),
        "core_s_per_million_chunks": round(1e6 * cpu_s / len(errors), 2),
        "chunks_per_s": round(len(errors) / wall_s),
        "requests": len(chunk),
        "failed": len(mine) - len(chunk),
    }


def show(name: str, streams: int, row: dict[str, Any]) -> None:
    def pair(key: str, digits: int) -> str:
        return f"{row[key]['p50']:.{digits}f} / {row[key]['p99']:.{digits}f}"

    parts = [
        f"{name:16} {streams:5d} streams {row['chunks_per_s']:7.0f} chunks/s",
        f"chunk error us {pair('chunk_error_us', 1)}",
        f"ITL {pair('itl_error_us', 1)}",
        f"TTFT {pair('ttft_error_us', 0)}",
        f"over 1 ms {row['over_1ms_share']:.3%}",
        f"{row['core_s_per_million_chunks']:.1f} core s/M",
    ]
    if "missing_stamps" in row:
        parts += [
            f"lag {pair('loop_lag_us', 0)}",
            f"coalesced {row['coalesced_share']:.3%}",
            f"no stamp {row['missing_stamps']:.0f}",
            f"{row['kb_per_stream']:.1f} KB/stream",
            f"kept from its core {row['waited_share']:.2%}",
            f"server send {pair('server_send_us', 1)}",
        ]
    print(" | ".join([*parts, f"failed {row['failed']:.0f}"]), flush=True)


def usable(names: list[str]) -> list[str]:
    """Those whose packages are installed."""
    found = []
    for name in names:
        missing = [need for need in _NEEDS.get(name, ()) if importlib.util.find_spec(need) is None]
        if missing:
            print(f"{name}: left out, {', '.join(missing)} is not installed", file=sys.stderr)
        else:
            found.append(name)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--streams", default="100,500,1000,2000", help="comma-separated")
    parser.add_argument("--rate", type=float, default=50.0, help="tokens/s a stream, at most")
    parser.add_argument("--seconds", type=float, default=4.0, help="measured, once all streams are open")
    parser.add_argument("--tokens", type=int, default=100, help="per request")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers", default="", help=f"of raw-c, {', '.join(_NEEDS)}; comma-separated")
    parser.add_argument("--thief", action="store_true")
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.peers = [name for name in options.peers.split(",") if name]
    unknown = set(options.peers) - {"raw-c", *_NEEDS}
    if unknown:
        parser.error(f"unknown peers: {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    options = arguments()
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    others = usable(options.peers)
    rows: dict[str, dict[str, Any]] = {}
    peers: dict[str, dict[str, Any]] = {name: {} for name in others}
    with ExitStack() as stack:
        server_cpu = stack.enter_context(client_core())
        raw_c = stack.enter_context(compiled("raw_client")) if "raw-c" in others else None
        if "raw-c" in others and raw_c is None:
            others.remove("raw-c")
            print("raw-c: left out, there is no C compiler", file=sys.stderr)
        if options.thief:
            stack.enter_context(thief(min(os.sched_getaffinity(0))))
        for streams in (int(text) for text in options.streams.split(",")):
            point = Point(
                streams=streams, rate=min(options.rate, MAX_CHUNKS_PER_S / streams),
                seconds=options.seconds, tokens=options.tokens, server_cpu=server_cpu,
            )  # fmt: skip
            made: dict[str, list[dict[str, Any]]] = {name: [] for name in ("servebench", *others)}
            for _ in range(options.runs):
                made["servebench"].append(measure_streams(point))
                for name in others:
                    made[name].append(run_other(name, point, raw_c if name == "raw-c" else None))
            rows[str(streams)] = middle(made["servebench"])
            for name in others:
                peers[name][str(streams)] = middle(made[name])
            if not options.json:
                for name, runs in made.items():
                    show(name, streams, middle(runs))
    goals = accuracy_goals(rows, peers.get("raw-c", {}), thief=options.thief)
    if options.json:
        print(json.dumps({"streams": rows, "peers": peers, "goals": goals_json(goals), "runs": options.runs,
                          "thief": options.thief, "realtime": options.realtime,
                          "cores": os.cpu_count()}, indent=2))  # fmt: skip
    else:
        print(*goals, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
