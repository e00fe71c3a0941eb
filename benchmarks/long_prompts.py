"""What prompts of a million tokens do to everyone else's inter-token latency on the mock.

    chrt -r 10 python benchmarks/long_prompts.py [--streams 200] [--prompts 5] [--tokens 999000] [--seconds 3]
    [--runs 5] [--json]

Streams of grok-4.3 run steadily; `prompts` long ones arrive within one second, from a process of their own:
in mode `elsewhere` for another model, so that only the server's process is shared, and in mode `together`
for the same replica, whose steps then hold chunks of their prefill. Gaps between the chunks of each stream
are taken over the `seconds` after the first is sent, by the kernel's receive timestamps, and beside them the
engine's own gaps over the same seconds (/debug/engine). A control run sends no prompts.

moved_ms = (p99 of the gaps - p99 of the engine's) with the prompts - the same without: what they cost beyond
what the engine says; the median of the runs, and the same between the quietest run of either side, since
neighbours only ever add. Server and its helper process share one core, the clients another.
"""

import argparse
import json
import os
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np

STREAMED, OTHER = "grok-4.3", "grok-5-small"
SPREAD_S = 0.8  # all prompts are on their way after this
_SO_TIMESTAMPNS = 35  # Linux; the socket module has no name for it
_SEND = """
import os, socket, sys, threading, time
host, port, model, count, tokens, spread = sys.argv[1:]
if hasattr(os, "sched_setscheduler"):
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
def ask(i):
    text = f"{os.getpid()}-{i} " + "four" * int(tokens)
    body = '{"model":"%s","max_tokens":1,"messages":[{"role":"user","content":"%s"}]}' % (model, text)
    body = body.encode()
    head = f"POST /v1/chat/completions HTTP/1.1\\r\\nHost: m\\r\\nAuthorization: Bearer any\\r\\n"
    head += f"Content-Type: application/json\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
    return head.encode() + body
bodies = [ask(i) for i in range(int(count))]
print("ready", flush=True)
sys.stdin.readline()
def send(i):
    time.sleep(i * float(spread) / len(bodies))
    connection = socket.create_connection((host, int(port)))
    connection.sendall(bodies[i])
    connection.recv(1)
for i in range(len(bodies)):
    threading.Thread(target=send, args=(i,), daemon=True).start()
sys.stdin.readline()
os._exit(0)
"""


@contextmanager
def mock(cpu: int) -> Iterator[str]:
    command = [sys.executable, "-m", "mock_server", "--tier", STREAMED, "--tier", OTHER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: pin(cpu)) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().removeprefix("listening on ").strip()
        finally:
            process.terminate()


@contextmanager
def prompts(url: str, model: str, count: int, tokens: int) -> Iterator["subprocess.Popen[str]"]:
    """A process that sends them once it is told to."""
    at = urlsplit(url)
    asked = [str(at.hostname), str(at.port), model, str(count), str(tokens), str(SPREAD_S)]
    with subprocess.Popen(
        [sys.executable, "-c", _SEND, *asked], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


class Streams:
    """Open streams and when each of their tokens came, in Unix seconds."""

    def __init__(self, url: str, count: int) -> None:
        self._selector = selectors.DefaultSelector()
        self.times: list[list[float]] = []
        at = urlsplit(url)
        for i in range(count):
            connection = socket.create_connection((at.hostname, at.port or 80))
            connection.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            connection.sendall(_request(i))
            connection.setblocking(False)
            self.times.append([])
            self._selector.register(connection, selectors.EVENT_READ, self.times[-1])

    def read_until(self, until_s: float) -> None:
        """until_s: Unix time."""
        while (left_s := until_s - time.time()) > 0:
            for key, _ in self._selector.select(left_s):
                assert isinstance(key.fileobj, socket.socket)
                data, ancillary, _, _ = key.fileobj.recvmsg(65536, 64)
                if not data:
                    raise SystemExit("a stream ended early: ask for fewer seconds")
                key.data.extend([stamp_s(ancillary)] * data.count(b'"content":"'))

    def wait_for_all(self) -> None:
        deadline_s = time.time() + 60
        while not all(self.times):
            if time.time() > deadline_s:
                raise SystemExit("some streams had no token within a minute")
            self.read_until(time.time() + 0.1)

    def gaps_ms(self, start_s: float, end_s: float) -> Any:
        found = []
        for times in self.times:
            inside = [t for t in times if start_s <= t <= end_s]
            found += np.diff(inside).tolist()
        return np.array(found) * 1e3

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()


def _request(index: int) -> bytes:
    body = {
        "model": STREAMED,
        "stream": True,
        "reasoning_effort": "none",
        "max_completion_tokens": 100_000,
        "messages": [{"role": "user", "content": f"stream {index}"}],
    }
    raw = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer any\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw


def stamp_s(ancillary: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", data[:16])
            return float(seconds + nanoseconds / 1e9)
    return time.time()


def engine_gaps_ms(url: str, start_s: float, end_s: float) -> Any:
    """Of the streams' replica over the same seconds; its clock is time.monotonic()."""
    with urllib.request.urlopen(f"{url}/debug/engine?model={STREAMED}", timeout=30) as answer:
        (replica,) = json.load(answer)["models"][STREAMED]
    behind_s = time.time() - time.monotonic()
    ends_s = [t + behind_s for t in replica["step_ends_s"]]
    return np.diff([t for t in ends_s if start_s <= t <= end_s]) * 1e3


def measure(mode: str, options: argparse.Namespace, cpu: int) -> dict[str, float]:
    """One run. mode "control" sends no prompts."""
    with mock(cpu) as url:
        model = STREAMED if mode == "together" else OTHER
        count = 0 if mode == "control" else options.prompts
        with prompts(url, model, count, options.tokens) as sender:
            streams = Streams(url, options.streams)
            streams.wait_for_all()
            streams.read_until(time.time() + 1.0)
            assert sender.stdin is not None
            start_s = time.time()
            sender.stdin.write("go\n")
            sender.stdin.flush()
            end_s = start_s + options.seconds
            streams.read_until(end_s + 0.2)
            gaps, engine = streams.gaps_ms(start_s, end_s), engine_gaps_ms(url, start_s, end_s)
            streams.close()
    every = np.repeat(engine, options.streams)  # each stream has each gap
    row = {f"p{q}_ms": float(np.percentile(gaps, q)) for q in (50, 99)}
    row |= {"max_ms": float(gaps.max()), "engine_p99_ms": float(np.percentile(every, 99))}
    return {**row, "beyond_engine_ms": row["p99_ms"] - row["engine_p99_ms"]}


def pin(cpu: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cpu})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=999_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    pin(cpus[-1])
    rows: dict[str, list[dict[str, float]]] = {"control": [], "elsewhere": [], "together": []}
    for _ in range(options.runs):
        for mode, found in rows.items():
            found.append(measure(mode, options, cpus[0]))
    summary: dict[str, Any] = {
        mode: {name: statistics.median(row[name] for row in found) for name in found[0]}
        for mode, found in rows.items()
    }
    for mode in ("elsewhere", "together"):
        moved = [
            row["beyond_engine_ms"] - control["beyond_engine_ms"]
            for row, control in zip(rows[mode], rows["control"], strict=True)
        ]
        quietest = [min(row["beyond_engine_ms"] for row in rows[name]) for name in (mode, "control")]
        summary[mode] |= {
            "moved_ms": statistics.median(moved),
            "moved_quietest_ms": quietest[0] - quietest[1],
            "moved_ms_runs": moved,
        }
    if options.json:
        print(json.dumps({"streams": options.streams, "prompts": options.prompts, **summary}))
        return
    print(f"{options.streams} streams, {options.prompts} prompts of {options.tokens} tokens; gaps in ms")
    for mode, row in summary.items():
        shown = {name: round(value, 2) for name, value in row.items() if name != "moved_ms_runs"}
        print(f"{mode:10}", shown)


if __name__ == "__main__":
    main()
