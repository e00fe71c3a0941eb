"""Ctrl-C loses nothing: records = requests that a server has seen, at `servebench run --processes 2`.

    python benchmarks/ctrl_c.py [--times 10] [--processes 2] [--rate 100] [--json]

Each time a run at a steady rate is sent SIGINT, as a terminal sends it to the whole group of processes,
1 s to 3 s after its first request. The server counts what arrives; it is no part of the run.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from servebench.results.run_directory import read_run

_WORDS = 40
_ITL_S = 0.02


class Counting(BaseHTTPRequestHandler):
    """Streams forty words; the server's `seen` counts the requests."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"object": "list", "data": []}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        server: Any = self.server
        self.rfile.read(int(self.headers["content-length"]))
        with server.lock:
            server.seen += 1
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        delta = {"choices": [{"index": 0, "delta": {"content": " word"}}]}
        done = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        events = [*([json.dumps(delta)] * _WORDS), json.dumps(done), "[DONE]"]
        try:
            for event in events:
                data = f"data: {event}\n\n".encode()
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                time.sleep(_ITL_S)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Counting)
        self.lock = threading.Lock()
        self.seen = 0


def interrupted_run(
    server: Server, run_dir: Path, after_s: float, options: argparse.Namespace
) -> dict[str, Any]:
    """One run, interrupted; what the server saw and what the run recorded."""
    server.seen = 0
    command = [
        sys.executable, "-m", "servebench", "run", "chat", "--target", f"http://127.0.0.1:{server.server_port}",
        "--rate", str(options.rate), "--duration", "60", "--processes", str(options.processes),
        "--out", str(run_dir), "--quiet",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 30
    while not server.seen and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    records = read_run(run_dir).records
    sent = sum(record.sent_ns is not None for record in records)
    return {
        "seen": server.seen,
        "recorded": sent,
        "finished": sum(record.ok for record in records),
        "unsent": len(records) - sent,
        "exit_code": process.returncode,
        "equal": sent == server.seen and len({record.id for record in records}) == len(records),
        "said": said.strip().splitlines()[-1:] if process.returncode != 130 else [],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    moments = random.Random(1)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(options.times):
            row = interrupted_run(server, Path(scratch) / str(turn), 1 + 2 * moments.random(), options)
            rows.append(row)
            if not options.json:
                print(
                    f"{turn + 1:2d}: seen {row['seen']}, recorded {row['recorded']} "
                    f"({row['finished']} whole), "
                    f"exit {row['exit_code']}: {'equal' if row['equal'] else 'NOT EQUAL'}",
                    flush=True,
                )
    server.shutdown()
    equal = sum(row["equal"] for row in rows)
    if options.json:
        print(json.dumps({"runs": rows, "equal": equal, "times": options.times}, indent=2))
    else:
        print(f"{equal} of {options.times} with every request recorded")
    return 0 if equal == options.times else 1


if __name__ == "__main__":
    sys.exit(main())
