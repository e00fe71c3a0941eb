"""Memory over an hour of load, in minutes: as many requests as an hour has, with short streams.

    python benchmarks/soak.py [--requests 360000] [--tokens 5] [--in-flight 200] [--streams 2000] [--json]

The whole of a worker's path for each request: pacer-less submit, meter, bill, part files on disk, live
statistics taken once a second. growth: resident memory after the last tenth of the requests over that after
the first tenth. Then --streams streams are opened at once; kb_per_stream: memory by open stream, sockets'
kernel buffers apart.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
from array import array
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from goals import Goal, goals_json

from servebench.catalog.load import load_catalog
from servebench.drive.billing import Biller
from servebench.drive.selfcheck import client_core
from servebench.drive.selfcheck_load import Callers, reference_call, resident_kb
from servebench.drive.selfcheck_truth import reference_server
from servebench.meter.call import Target
from servebench.meter.engine_loop import EngineLoop
from servebench.meter.record import RequestRecord
from servebench.results.live import LiveStats
from servebench.results.parts import PartWriter


class Worker:
    """Asks again and again, as many requests as are wanted, and keeps what a worker keeps."""

    def __init__(self, loop: EngineLoop, run_dir: Path, options: argparse.Namespace) -> None:
        self.loop, self.wanted, self.tokens = loop, options.requests, options.tokens
        self.writer, self.live, self.biller = (
            PartWriter(run_dir, 0),
            LiveStats(),
            Biller(load_catalog().price("grok-4.3")),
        )
        self.asked = self.done = self.failed = 0
        self.over = Event()
        self.memory_kb: list[int] = []

    def ask(self) -> None:
        if self.asked >= self.wanted:
            return
        call_id, self.asked = self.asked, self.asked + 1
        intended_ns = time.monotonic_ns() - self.loop.t0_ns
        call = reference_call(call_id, intended_ns=intended_ns, tokens=self.tokens, itl_us=1000)
        self.loop.submit(call, self._answered)

    def _answered(self, record: RequestRecord, chunk_us: "array[int]") -> None:
        record, charge = self.biller.charge(record, prompt_tokens=12)
        self.writer.write(record, chunk_us)
        self.live.add(record, chunk_us, cost_ticks=charge)
        self.failed += not record.ok
        self.done += 1
        if self.done % (self.wanted // 20) == 0:
            self.memory_kb.append(resident_kb())
        if self.done == self.wanted:
            self.over.set()
        self.ask()


def soak(options: argparse.Namespace, server_cpu: int | None) -> dict[str, Any]:
    with reference_server(server_cpu) as port, tempfile.TemporaryDirectory() as scratch:
        loop = EngineLoop(Target("127.0.0.1", port), max_in_flight=options.in_flight)
        worker = Worker(loop, Path(scratch), options)
        gc.collect()
        gc.freeze()
        began_s = time.monotonic()
        for _ in range(options.in_flight):
            worker.ask()
        while not worker.over.wait(1.0):
            worker.live.take()
        took_s = time.monotonic() - began_s
        loop.close()
        worker.writer.close()
    early, late = worker.memory_kb[1], worker.memory_kb[-1]  # after a tenth, and after all
    return {
        "requests": worker.done,
        "failed": worker.failed,
        "took_s": round(took_s, 1),
        "memory_mb": [round(kb / 1024, 1) for kb in worker.memory_kb],
        "growth": round(late / early - 1, 4),
    }


def open_streams(streams: int, server_cpu: int | None) -> dict[str, Any]:
    with reference_server(server_cpu) as port:
        loop = EngineLoop(Target("127.0.0.1", port), max_in_flight=streams)
        callers = Callers(loop, tokens=200, itl_us=50_000)
        gc.collect()
        before_kb = resident_kb()
        for _ in range(streams):
            callers.open()
            gevent.sleep(2.0 / streams)
        gevent.sleep(5.0)
        used_kb = resident_kb() - before_kb
        callers.stop()
        loop.close()
    return {"streams": streams, "kb_per_stream": round(used_kb / streams, 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--requests", type=int, default=360_000, help="an hour at 100 requests/s")
    parser.add_argument("--tokens", type=int, default=5)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--open-only", action="store_true", help="the second part alone")
    options = parser.parse_args()
    if options.requests < 20:
        parser.error("--requests: at least 20")
    result: dict[str, Any] = {}
    with client_core() as server_cpu:
        result["open"] = open_streams(options.streams, server_cpu)  # first: freed memory would be used again
        if not options.open_only:
            result["soak"] = soak(options, server_cpu)
    goals = [Goal("memory of an open stream", result["open"]["kb_per_stream"], 20, "KB")]
    if not options.open_only:
        goals.append(Goal("growth of memory", result["soak"]["growth"] * 100, 10, "%"))
    if options.json:
        print(json.dumps(result | {"goals": goals_json(goals)}, indent=2))
        return 0
    print(f"{options.streams} open streams: {result['open']['kb_per_stream']} KB each")
    if not options.open_only:
        one = result["soak"]
        print(
            f"{one['requests']} requests in {one['took_s']} s, {one['failed']} failed: "
            f"memory {one['growth']:+.1%} "
            f"({one['memory_mb'][1]} MB after a tenth, {one['memory_mb'][-1]} MB after all)"
        )
    print(*goals, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
