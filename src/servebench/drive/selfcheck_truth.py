"""The truth that the meter is held against: a reference server of its own, and what it says it sent."""

import http.client
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servebench.errors import OperationError
from servebench.meter.record import RequestRecord

Numbers = NDArray[np.int64]
PYTHON_SERVER = (sys.executable, "-m", "servebench.meter.reference_server")


@contextmanager
def reference_server(cpu: int | None, command: Sequence[str] = PYTHON_SERVER) -> Iterator[int]:
    """Yields the port of a fresh server, which ends with the block or with this process.

    Raises OperationError where it does not start.
    """
    argv = [*command, *(() if cpu is None else ("--cpu", str(cpu)))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None or server.stdin is None:
            raise OperationError("the reference server has no pipes")
        try:
            line = server.stdout.readline()
            if not line.startswith("listening on "):
                raise OperationError(
                    "the reference server did not start; it needs Linux and a free loopback port"
                )
            yield int(line.rsplit(":", 1)[1])
        finally:
            server.stdin.close()
            server.wait(10)


def fetch(port: int, path: str) -> Numbers:
    """What the server collected there since it was last asked; "/stamps" or "/sends"."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    data = connection.getresponse().read()
    connection.close()
    return np.frombuffer(data, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Sent:
    """One stream as the server saw it: when it had read the request, and the time before each send, ns."""

    read_ns: int
    stamps_ns: Numbers


def sent_streams(dump: Numbers) -> dict[int, Sent]:
    """By request id, from what "/stamps" returns."""
    streams, place = {}, 0
    while place < len(dump):
        count = int(dump[place + 2])
        streams[int(dump[place])] = Sent(int(dump[place + 1]), dump[place + 3 : place + 3 + count])
        place += 3 + count
    return streams


@dataclass(frozen=True, slots=True)
class Errors:
    """chunk_ns: the meter's time of each chunk - the server's; itl_ns: of each gap, absolute; ttft_ns: of
    each request's TTFT since the send; at_ns: the meter's times; coalesced: chunks with the stamp of the one
    before.
    """

    chunk_ns: Numbers
    itl_ns: Numbers
    ttft_ns: Numbers
    at_ns: Numbers
    coalesced: int

    def row(self) -> dict[str, Any]:
        absolute = np.abs(self.chunk_ns)
        return {
            "chunk_error_us": quantiles_us(absolute),
            "itl_error_us": quantiles_us(self.itl_ns),
            "ttft_error_us": quantiles_us(self.ttft_ns),
            "coalesced_share": round(self.coalesced / max(len(absolute), 1), 6),
            "over_1ms_share": round(float((absolute > 1_000_000).mean()), 6) if len(absolute) else 0.0,
        }


def compare(
    measured: Sequence[tuple[RequestRecord, "Sequence[int]"]], sent: Mapping[int, Sent], t0_ns: int
) -> Errors:
    """The meter's times, rebuilt from what it hands out (records and int32 us), against the server's.

    Raises OperationError where nothing was measured.
    """
    chunk, itl, ttft, at = [], [], [], []
    coalesced = 0
    for record, chunk_us in measured:
        if not record.ok or record.sent_ns is None:
            continue
        theirs = sent[record.id]
        steps_us = np.asarray(chunk_us, dtype=np.int64)
        mine = record.sent_ns + t0_ns + 1000 * np.cumsum(steps_us)
        at.append(mine)
        chunk.append(mine - theirs.stamps_ns)
        itl.append(np.abs(np.diff(mine) - np.diff(theirs.stamps_ns)))
        ttft.append(1000 * int(steps_us[0]) - int(theirs.stamps_ns[0] - theirs.read_ns))
        coalesced += record.coalesced
    if not chunk:
        raise OperationError("no stream of the selfcheck came back whole: the machine is too busy to measure")
    return Errors(
        chunk_ns=np.concatenate(chunk),
        itl_ns=np.concatenate(itl),
        ttft_ns=np.array(ttft),
        at_ns=np.concatenate(at),
        coalesced=coalesced,
    )


def quantiles_us(values_ns: Numbers) -> dict[str, float | None]:
    """p50 and p99 of nanoseconds, in us; None of nothing."""
    if not len(values_ns):
        return {"p50": None, "p99": None}
    at = np.percentile(values_ns, [50, 99]) / 1e3
    return {"p50": round(float(at[0]), 2), "p99": round(float(at[1]), 2)}
