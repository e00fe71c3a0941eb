"""How late arrivals are sent, against a C loop on a timerfd, on the same schedule.

    python benchmarks/pacing.py [--rates 100,500] [--seconds 60] [--runs 1] [--realtime] [--json]

Poisson arrivals through the pacer and the meter, connections and all, to a reference server on another core;
then the same arrivals by native/timerfd_pacer.c (where a C compiler is), one socket, one byte each. The two
take turns; medians over the runs. late = send - due; rate_error: achieved over planned rate - 1.
--realtime: at real-time priority, against neighbours on a shared machine.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
from goals import goals_json, pacing_goals
from native_tools import compiled

from servebench.drive.selfcheck import client_core, middle
from servebench.drive.selfcheck_load import measure_pacing, pacing_row


def sink() -> tuple[socket.socket, int]:
    """A listener that reads and forgets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def swallow() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                while peer.recv(65536):
                    pass

    threading.Thread(target=swallow, daemon=True).start()
    return listener, listener.getsockname()[1]


def by_c(program: Path, rate_rps: float, seconds: float) -> dict[str, Any]:
    """The same arrivals as measure_pacing's, by the C loop."""
    rng = np.random.Generator(np.random.Philox(1))
    gaps_s = rng.exponential(1 / rate_rps, max(round(rate_rps * seconds), 2))
    listener, port = sink()
    with listener, tempfile.TemporaryDirectory() as scratch:
        due, out = Path(scratch) / "due", Path(scratch) / "out"
        np.cumsum(gaps_s * 1e9).astype(np.int64).tofile(due)
        subprocess.run([str(program), str(port), str(due), str(out)], check=True, timeout=seconds * 2 + 30)
        rows = np.fromfile(out, dtype=np.int64).reshape(-1, 2)
    return pacing_row(rows[:, 0].tolist(), rows[:, 1].tolist(), rows[:, 1] - rows[:, 0])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rates", default="100,500", help="requests/s, comma-separated")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    result: dict[str, Any] = {}
    with client_core() as server_cpu, compiled("timerfd_pacer") as program:
        for rate_rps in (float(text) for text in options.rates.split(",")):
            runs: dict[str, list[dict[str, Any]]] = {}
            for _ in range(options.runs):
                ours = measure_pacing(rate_rps, options.seconds, server_cpu)
                runs.setdefault("servebench", []).append(ours)
                if program is not None:
                    runs.setdefault("timerfd_c", []).append(by_c(program, rate_rps, options.seconds))
            row = {name: middle(made) for name, made in runs.items()}
            result[f"{rate_rps:g}"] = row
            if not options.json:
                for name, one in row.items():
                    late = one["late_us"]
                    print(
                        f"{rate_rps:5g}/s {name:11} late us p50 {late['p50']:.0f} p99 {late['p99']:.0f}   "
                        f"rate off by {one['rate_error']:+.4%}   {one['n']:.0f} arrivals",
                        flush=True,
                    )
    if options.json:
        about = {"seconds": options.seconds, "runs": options.runs}
        print(json.dumps({"pacing": result, "goals": goals_json(pacing_goals(result)), **about}, indent=2))
    else:
        print(*pacing_goals(result), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
