"""A server that stands still for 2 s of each 10: which TTFT shows it.

    python benchmarks/injected_stalls.py [--duration 30] [--rate 30] [--max-in-flight 2] [--json]

A real `servebench run`, open loop, whose few connections all hang during a stall, as a thread pool's would.
corrected: TTFT from the intended start. uncorrected: from the send, which is what a client that waits for its
turn sees: hardly any request is on the wire in a stall, so hardly any is slow (coordinated omission).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from goals import Goal, goals_json

_PERIOD_S, _STALL_S = 10.0, 2.0
_STREAM = "".join(
    f"data: {json.dumps({'choices': [choice]})}\n\n"
    for choice in (
        {"index": 0, "delta": {"content": " word"}},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    )
).encode()


class Stalling(BaseHTTPRequestHandler):
    """Answers in a few ms, but in the first 2 s of each 10 s only at their end."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer("application/json", b'{"object": "list", "data": []}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        into_s = time.monotonic() % _PERIOD_S
        if into_s < _STALL_S:
            time.sleep(_STALL_S - into_s)
        time.sleep(0.005)
        self._answer("text/event-stream", _STREAM + b"data: [DONE]\n\n")

    def _answer(self, content_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--duration", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--max-in-flight", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stalling)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        command = [
            sys.executable, "-m", "servebench", "run", "chat", "--quiet", "--out", str(out),
            "--target", f"http://127.0.0.1:{server.server_port}", "--rate", str(options.rate),
            "--duration", str(options.duration), "--max-in-flight", str(options.max_in_flight),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not (out / "summary.json").exists():
            raise SystemExit(f"the run failed ({done.returncode}): {done.stderr[-400:]}")
        everything = json.loads((out / "summary.json").read_bytes())["classes"]["all"]
    server.shutdown()
    result = {
        "corrected_ttft_s": everything["ttft_s"],
        "uncorrected_ttft_s": everything["service_ttft_s"],
        "offered": everything["offered"],
        "failed": everything["failed"],
    }
    goals = [
        Goal("corrected TTFT p99", result["corrected_ttft_s"]["p99"], 1.5, "s", at_least=True),
        Goal("uncorrected TTFT p99", result["uncorrected_ttft_s"]["p99"], 1.0, "s"),
    ]
    if options.json:
        print(json.dumps(result | {"goals": goals_json(goals)}, indent=2))
        return 0
    for name in ("corrected", "uncorrected"):
        ttft = result[f"{name}_ttft_s"]
        shown = "   ".join(
            f"{key} {'too few requests' if ttft[key] is None else f'{ttft[key]:.3f} s'}"
            for key in ("p50", "p95", "p99")
        )
        print(f"{name:11} TTFT {shown}")
    print(f"{result['offered']} requests, {result['failed']} failed")
    print(*goals, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
