"""How exact the meter is on this machine: its chunk times against a server that stamps what it sends.

    python benchmarks/meter_accuracy.py [--streams 100,500,1000,2000] [--rate 50] [--seconds 5] [--runs 5]
    [--json]

The server (servebench.meter.reference_server, plain Python) runs on one core, one EngineLoop on another. Each
stream asks again as soon as it ends. error = the meter's time of a chunk - the server's time right before the
send, so it includes the send itself (`server_send_us`). 2,000 streams and more run at 40 tokens/s (80,000
chunks/s). Medians over the runs.
"""

import argparse
import gc
import http.client
import json
import os
import resource
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import gevent
import numpy as np
from gevent.event import Event

from servebench.meter.engine_loop import Call, EngineLoop, Target
from servebench.meter.record import RequestRecord

Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]


@contextmanager
def reference_server(cpu: int | None) -> Iterator[int]:
    """Yields the port of a fresh server."""
    command = [sys.executable, "-m", "servebench.meter.reference_server"]
    command += [] if cpu is None else ["--cpu", str(cpu)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            yield int(server.stdout.readline().rsplit(":", 1)[1])
        finally:
            server.stdin.close()
            server.wait(10)


def fetch(port: int, path: str) -> Numbers:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    data = connection.getresponse().read()
    connection.close()
    return np.frombuffer(data, dtype=np.int64)


class Load:
    """`streams` callers, each asking again when its answer is whole, until the time is up."""

    def __init__(self, loop: EngineLoop, streams: int, rate: float, tokens: int, until_ns: int) -> None:
        self.loop, self.itl_us, self.tokens, self.until_ns = loop, round(1e6 / rate), tokens, until_ns
        self.results: list[tuple[RequestRecord, array[int]]] = []
        self.left = streams
        self.over = Event()
        self._next_id = 0

    def ask(self) -> None:
        call_id, self._next_id = self._next_id, self._next_id + 1
        asked = {"model": "reference", "stream": True, "max_tokens": self.tokens, "itl_us": self.itl_us}
        body = json.dumps(asked | {"user": str(call_id)}).encode()
        intended_ns = time.monotonic_ns() - self.loop.t0_ns
        self.loop.submit(Call(call_id, "chat", None, 0, "reference", intended_ns, body), self.answered)

    def answered(self, record: RequestRecord, chunk_us: "array[int]") -> None:
        self.results.append((record, chunk_us))
        if record.ok and time.monotonic_ns() < self.until_ns:
            self.ask()
            return
        self.left -= 1
        if not self.left:
            self.over.set()


def truth(dump: Numbers) -> dict[int, tuple[int, Numbers]]:
    """id -> (request read at, stamps)."""
    streams, place = {}, 0
    while place < len(dump):
        count = int(dump[place + 2])
        streams[int(dump[place])] = (int(dump[place + 1]), dump[place + 3 : place + 3 + count])
        place += 3 + count
    return streams


def quantiles(values_ns: Numbers) -> dict[str, float]:
    at = np.percentile(values_ns, [50, 99]) / 1e3
    return {"p50": round(float(at[0]), 2), "p99": round(float(at[1]), 2)}


def measure(streams: int, rate: float, seconds: float, tokens: int, server_cpu: int | None) -> dict[str, Any]:
    """One run; the numbers of `servebench selfcheck --json`, and some more."""
    with reference_server(server_cpu) as port:
        gc.collect()
        gc.freeze()
        memory_kb = resident_kb()
        loop = EngineLoop(Target("127.0.0.1", port), max_in_flight=streams)
        start_s, cpu_s = time.monotonic(), time.process_time()
        load = Load(loop, streams, rate, tokens, time.monotonic_ns() + int(seconds * 1e9))
        for _ in range(streams):  # spread over one interval, or all streams would send at once
            load.ask()
            gevent.sleep(min(1.0, seconds / 4) / streams)
        memory_kb = resident_kb() - memory_kb
        load.over.wait()
        cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - start_s
        health = loop.health()
        loop.close()
        sent = truth(fetch(port, "/stamps"))
        sends_ns = fetch(port, "/sends")
    return compare(load, sent, loop.t0_ns) | {
        "missing_stamps": health.missing_stamps,
        "core_s_per_million_chunks": round(1e6 * cpu_s / health.chunks, 2),
        "chunks_per_s": round(health.chunks / wall_s),
        "loop_lag_us": {"p50": health.lag_p50_us, "p99": health.lag_p99_us},
        "server_send_us": quantiles(sends_ns),
        "kb_per_stream": round(memory_kb / streams, 1),
        "requests": len(load.results),
        "failed": sum(not record.ok for record, _ in load.results),
    }


def compare(load: Load, sent: dict[int, tuple[int, Numbers]], t0_ns: int) -> dict[str, Any]:
    """The meter's times, rebuilt from what it hands out (records and int32 us), against the server's."""
    chunk, itl, ttft = [], [], []
    chunks = coalesced = 0
    for record, chunk_us in load.results:
        if not record.ok or record.sent_ns is None:
            continue
        read_ns, stamps = sent[record.id]
        mine = (
            record.sent_ns + t0_ns + 1000 * np.cumsum(np.frombuffer(chunk_us, dtype=np.int32), dtype=np.int64)
        )
        chunk.append(mine - stamps)
        itl.append(np.abs(np.diff(mine) - np.diff(stamps)))
        ttft.append(int(mine[0] - record.sent_ns - t0_ns) - int(stamps[0] - read_ns))
        chunks += record.chunks
        coalesced += record.coalesced
    error = np.concatenate(chunk)
    return {
        "chunk_error_us": quantiles(np.abs(error)),
        "itl_error_us": quantiles(np.concatenate(itl)),
        "ttft_error_us": quantiles(np.array(ttft)),
        "over_1ms_share": round(float((np.abs(error) > 1_000_000).mean()), 6),
        "coalesced_share": round(coalesced / chunks, 6),
    }


def resident_kb() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() // 1024


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each number."""
    return {
        key: {inner: median(run[key][inner] for run in runs) for inner in value}
        if isinstance(value, dict)
        else median(run[key] for run in runs)
        for key, value in runs[0].items()
    }


def show(streams: int, row: dict[str, Any]) -> None:
    error, itl, ttft = row["chunk_error_us"], row["itl_error_us"], row["ttft_error_us"]
    lag, send = row["loop_lag_us"], row["server_send_us"]
    parts = [
        f"{streams:5d} streams {row['chunks_per_s']:7.0f} chunks/s",
        f"chunk error us p50 {error['p50']:.1f} p99 {error['p99']:.1f}",
        f"ITL {itl['p50']:.1f} / {itl['p99']:.1f}",
        f"TTFT {ttft['p50']:.0f} / {ttft['p99']:.0f}",
        f"{row['core_s_per_million_chunks']:.1f} core s/M",
        f"lag {lag['p50']:.0f} / {lag['p99']:.0f}",
        f"coalesced {100 * row['coalesced_share']:.3f} %",
        f"missing {row['missing_stamps']:.0f}",
        f"{row['kb_per_stream']:.1f} KB/stream",
        f"server send {send['p50']:.1f} / {send['p99']:.1f} us",
        f"failed {row['failed']:.0f}",
    ]
    print(" | ".join(parts), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--streams", default="100,500,1000,2000", help="comma-separated")
    parser.add_argument(
        "--rate", type=float, default=50.0, help="tokens/s a stream (at most 80,000 chunks/s in all)"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="no new request after this time")
    parser.add_argument("--tokens", type=int, default=200, help="per request")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[1]})
    rows: dict[str, dict[str, Any]] = {}
    for streams in (int(text) for text in options.streams.split(",")):
        rate = min(options.rate, 80_000 / streams)
        server_cpu = cores[0] if len(cores) > 1 else None
        runs = [
            measure(streams, rate, options.seconds, options.tokens, server_cpu) for _ in range(options.runs)
        ]
        rows[str(streams)] = middle(runs)
        if not options.json:
            show(streams, rows[str(streams)])
    if options.json:
        print(json.dumps({"streams": rows, "runs": options.runs, "cores": len(cores)}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
