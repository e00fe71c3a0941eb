"""The mock's speed on one core, beside a C server and bare aiohttp in the same run.

    python benchmarks/mock_throughput.py [--runs 5] [--seconds 3] [--cases chunks_500,whole,...] [--json]

The server has core 0, the client (native/sse_load.c) core 1, both in real-time scheduling where that is
allowed, because neighbours take time away. Every case runs --runs times on each server, in turn; figures are
medians.

chunks_N   N streams of 200 tokens, as fast as they come; the mock's engine computes every step of Grok 4.3
           (N / 250 replicas) at a time scale that it can't reach
itl_N      N streams at a fixed step: |gap between chunks - step| at p50 and p99
whole      answers of one token that are not streamed: one body again and again, on 128 connections, at a time
           scale that leaves the engine's latency room for more than a core can do
varied     the same, every body another
memory     KB of the mock's resident memory for each of 2,000 open streams
start      s from the command to the first answer of /health
workers    core us for a chunk of two workers over that of one, on one core, 400 streams
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from native_tools import compiled

from servebench.catalog.load import load_catalog
from servebench.catalog.profile import profile_text
from servebench.engine.step_time import StepTimeModel

HERE = Path(__file__).resolve().parent
SERVER_CPU, CLIENT_CPU = 0, 1
CHUNKS, ITL = {500: 2, 2000: 8}, {500: 20_000, 2000: 50_000}  # streams: replicas; streams: step in us
WHOLE_CONNECTIONS, WHOLE_SCALE = 128, 20
CONTEXT_TOKENS = 300  # of a stream in the middle of an itl case
CASES = ("chunks_500", "chunks_2000", "itl_500", "itl_2000", "whole", "varied", "memory", "start", "workers")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def pinned(cpu: int) -> Any:
    """What a child does before it starts."""

    def prepare() -> None:
        os.sched_setaffinity(0, {cpu})
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))

    return prepare


@contextlib.contextmanager
def server(command: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(process id, port) of a server that prints `listening on http://HOST:PORT`."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=pinned(SERVER_CPU)
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if "listening" not in line:
            raise SystemExit(f"{command[0]} did not start: {line}")
        yield process.pid, int(line.rsplit(":", 1)[1])
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


class Bench:
    def __init__(self, scratch: Path, load: Path, c_server: Path, seconds: float) -> None:
        self._scratch, self._load, self._c, self._seconds = scratch, load, c_server, seconds
        self._bodies = {
            "stream": self._body("stream", stream=True, max_completion_tokens=200),
            "long": self._body("long", stream=True, max_completion_tokens=20_000),
            "whole": self._body("whole", max_completion_tokens=1),
            "varied": self._body("varied", max_completion_tokens=1, user="########"),
        }

    def _body(self, name: str, **fields: Any) -> Path:
        path = self._scratch / f"{name}.json"
        messages = [{"role": "user", "content": "hello"}]
        body = {"model": "grok-4.3", "messages": messages, "reasoning_effort": "none", **fields}
        path.write_text(json.dumps(body, separators=(",", ":")), encoding="utf-8")
        return path

    def commands(
        self, step_us: int, replicas: int, *, streams: int = 1, scale: int = 100
    ) -> dict[str, list[str]]:
        """The servers, by name. step_us 0: as fast as they can, else with so many streams in a step."""
        flags = ["--tier", "grok-4.3", "--replicas", str(replicas), "--time-scale", str(scale)]
        if step_us:
            flags = ["--profile", str(self._fixed_step(step_us / 1e6, streams))]
        return {
            "c": [str(self._c), str(step_us)],
            "bare": [sys.executable, str(HERE / "bare_aiohttp.py"), str(step_us)],
            "mock": mock(*flags),
        }

    def _fixed_step(self, step_s: float, streams: int) -> Path:
        """A profile of Grok 4.3 as a toy whose steps of so many sequences take step_s."""
        catalog = load_catalog()
        tier = catalog.tier("grok-4.3")
        shape = replace(
            tier.shape, params_total=1e6, params_active=1e6, params_non_expert=5e5, layers=1,
            kv_bytes_per_token=1, attn_decode_flop=1, attn_prefill_flop=1,
        )  # fmt: skip
        serving = replace(
            tier.serving, layer_latency_s=step_s, prefill_layer_latency_s=0.0, step_overhead_s=0.0,
            sequence_overhead_s=0.0,
            step_noise_cv=0.0, prefill_noise_cv=0.0, ttft_floor_s=0.0, max_num_seqs=2048,
        )  # fmt: skip
        tokens = streams * CONTEXT_TOKENS
        over_s = (
            StepTimeModel(shape, serving, catalog.gpu(serving.gpu_id)).step(streams, tokens).total_s - step_s
        )
        serving = replace(serving, layer_latency_s=step_s - over_s)
        path = self._scratch / f"step-{step_s}.yaml"
        sources = {
            name: replace(source, low=None, high=None, note="a toy") for name, source in tier.sources.items()
        }
        toy = replace(tier, shape=shape, serving=serving, sources=sources)
        path.write_text(profile_text(toy), encoding="utf-8")
        return path

    def drive(self, port: int, connections: int, body: str, *, itl_us: int = 0) -> dict[str, float]:
        warmup_s = 1.5 if itl_us else 1.0
        done = subprocess.run(
            [str(self._load), str(port), str(connections), str(self._seconds), str(warmup_s), str(itl_us),
             str(self._bodies[body])],
            capture_output=True, text=True, timeout=60, check=False, preexec_fn=pinned(CLIENT_CPU),
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"the load failed: {done.stderr}")
        result: dict[str, float] = json.loads(done.stdout)
        return result

    def one(self, case: str) -> dict[str, dict[str, float]]:
        """Figures by server."""
        kind, _, count = case.partition("_")
        if kind == "chunks":
            return self._each(self.commands(0, CHUNKS[int(count)]), int(count), "stream")
        if kind == "itl":
            step_us = ITL[int(count)]
            return self._each(
                self.commands(step_us, 1, streams=int(count)), int(count), "long", itl_us=step_us
            )
        if kind in ("whole", "varied"):
            return self._each(self.commands(0, 1, scale=WHOLE_SCALE), WHOLE_CONNECTIONS, kind)
        return {"mock": {"memory": self._memory, "start": self._start, "workers": self._workers}[kind]()}

    def _each(
        self, commands: dict[str, list[str]], connections: int, body: str, *, itl_us: int = 0
    ) -> dict[str, dict[str, float]]:
        found = {}
        for name, command in commands.items():
            with server(command) as (_, port):
                found[name] = self.drive(port, connections, body, itl_us=itl_us)
        return found

    def _memory(self) -> dict[str, float]:
        with server(mock("--profile", str(self._fixed_step(0.05, 2000)))) as (process, port):
            self.drive(port, 64, "whole")
            before_kb = resident_kb(process)
            load = subprocess.Popen(
                [str(self._load), str(port), "2000", "4", "0", "50000", str(self._bodies["long"])],
                stdout=subprocess.DEVNULL,
            )
            time.sleep(3)
            held_kb = resident_kb(process)
            load.wait(20)
        return {"kb_per_stream": (held_kb - before_kb) / 2000, "idle_mb": before_kb / 1024}

    def _start(self) -> dict[str, float]:
        began_s = time.monotonic()
        with server(mock("--tier", "grok-4.3")) as (_, port):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10).close()
            return {"start_s": time.monotonic() - began_s}

    def _workers(self) -> dict[str, float]:
        """At a load that one core carries, so that batches are the same."""
        us = {}
        for workers in (1, 2):
            flags = [
                "--tier",
                "grok-4.3",
                "--replicas",
                "4",
                "--time-scale",
                "1.5",
                "--workers",
                str(workers),
            ]
            with server(mock(*flags)) as (process, port):
                ids = [process, *children(process)]
                self.drive(port, 400, "stream", itl_us=1)
                before = sum(map(cpu_s, ids))
                made = self.drive(port, 400, "stream", itl_us=1)
                share = (made["seconds"] + 1.5) / made["seconds"]  # the warm-up costs too
                us[workers] = (sum(map(cpu_s, ids)) - before) * 1e6 / (made["events"] * share)
        return {"us_one": us[1], "us_two": us[2], "two_over_one": us[2] / us[1]}


def mock(*flags: str) -> list[str]:
    return [sys.executable, "-m", "mock_server", "--port", "0", *flags]


def resident_kb(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0])


def children(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return [int(child) for child in listed.split()]


def cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def medians(turns: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        name: {key: round(median(turn[name][key] for turn in turns), 3) for key in turns[0][name]}
        for name in turns[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="The mock's speed, beside a C server and bare aiohttp.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, compiled("sse_load") as load, compiled("sse_server") as c:
        if load is None or c is None:
            raise SystemExit("no C compiler: gcc or cc makes the client and the floor")
        bench, result = Bench(Path(scratch), load, c, asked.seconds), {}
        for case in asked.cases.split(","):
            result[case] = medians([bench.one(case) for _ in range(asked.runs)])
            if not asked.json:
                print(case)
                for name, figures in result[case].items():
                    print(f"  {name:6}", "  ".join(f"{key} {value:g}" for key, value in figures.items()))
    if asked.json:
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
