"""A server that stamps what it sends: the truth that the meter is held against. Plain Python, Linux only.

    python -m servebench.meter.reference_server [--cpu N]      first line: "listening on http://127.0.0.1:PORT"

POST anything with {"max_tokens": n, "itl_us": us, "user": "ID"}: n chunks, one `send` each, the first one
interval after the request was read; CLOCK_MONOTONIC is read right before each send. Word lengths vary as
tokens do. GET /stamps: the finished streams as int64: ID, request arrived at, n, the n stamps; every 64th
send is timed, and GET /sends returns those durations (ns), the server's own share of any error. A request
arrives when the kernel has it (its receive timestamp), not when this server, busy sending, comes to read it:
that wait is the server's, and part of the true TTFT. One interval for all streams at a time. Ends at EOF of
stdin.
"""

import argparse
import json
import os
import select
import socket
import sys
import time
from array import array
from collections import deque
from typing import Final

from servebench.meter.timestamps import ANCILLARY_BYTES, ask_for_stamps, measure_offset_ns, unpack_timespec

_WORDS: Final = (
    " the",
    " of",
    "ing",
    " measure",
    ",",
    " and",
    " latency",
    " to",
    "ly",
    " a",
    ".",
    " instrument's",
)
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_NAP_NS: Final = 50_000  # it never spins, or the scheduler would take the core away when it hurts
_now_ns = time.monotonic_ns


def _frame(payload: str) -> bytes:
    data = f"data: {payload}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def _chunk(rest: str) -> str:
    head = (
        '{"id":"150c007d-f06f-945f-b763-621c061d0df9","object":"chat.completion.chunk","created":1785220810,'
    )
    tail = '"system_fingerprint":"fp_eb3c003fc66c14ed","service_tier":"default"}'
    return f'{head}"model":"reference",{rest},{tail}'


_TOKENS: Final = [
    _frame(_chunk(f'"choices":[{{"index":0,"delta":{{"content":"{word}"}}}}]')) for word in _WORDS
]


def _tail(tokens: int) -> bytes:
    finish = _chunk('"choices":[{"index":0,"delta":{},"finish_reason":"length"}]')
    usage = f'"usage":{{"prompt_tokens":12,"completion_tokens":{tokens},"total_tokens":{tokens + 12}}}'
    return _frame(finish) + _frame(_chunk(f'"choices":[],{usage}')) + _frame("[DONE]") + b"0\r\n\r\n"


class Stream:
    """One connection and the stream on it, if any."""

    __slots__ = ("arrived_ns", "due_ns", "id", "inbox", "itl_ns", "left", "sock", "stamps")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.inbox = b""
        self.stamps: array[int] = array("q")
        self.left = self.id = self.due_ns = self.itl_ns = self.arrived_ns = 0


class ReferenceServer:
    """serve() until stdin ends."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.port = int(self.listener.getsockname()[1])
        self._poll = select.epoll()
        self._poll.register(self.listener.fileno(), select.EPOLLIN)
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)
        self._streams: dict[int, Stream] = {}
        self._queue: deque[Stream] = deque()  # in order of due time, as all have one interval
        self._finished: array[int] = array("q")
        self._durations: array[int] = array("q")
        self._offset_ns = measure_offset_ns(500)

    def serve(self) -> None:
        queue, poll, poll_fd = self._queue, self._poll.poll, [self._poll.fileno()]
        ends = (self.listener.fileno(), sys.stdin.fileno())
        while True:
            wait_ns = queue[0].due_ns - _now_ns() if queue else 50_000_000
            if wait_ns > 0:  # epoll's own timeout has whole milliseconds, select's has microseconds
                select.select(poll_fd, (), (), max(wait_ns, _NAP_NS) / 1e9)
            for fd, _ in poll(0):
                if fd == ends[0]:
                    self._accept()
                elif fd == ends[1]:
                    return
                else:
                    self._read(self._streams[fd])
            self._send_due()

    def _send_due(self) -> None:
        """Up to 64 chunks, then the sockets get a look."""
        queue, durations = self._queue, self._durations
        for turn in range(64):
            if not queue or queue[0].due_ns > _now_ns():
                return
            stream = queue.popleft()
            left = stream.left
            if not left:
                self._finish(stream)
                continue
            frame = _TOKENS[left % 12]
            stream.left = left - 1
            stream.due_ns += stream.itl_ns
            try:
                before_ns = _now_ns()
                stream.sock.send(frame)
            except OSError:
                self._drop(stream)
                continue
            if not turn:
                durations.append(_now_ns() - before_ns)
            stream.stamps.append(before_ns)
            queue.append(stream)

    def _finish(self, stream: Stream) -> None:
        self._finished.extend((stream.id, stream.arrived_ns, len(stream.stamps)))
        self._finished.extend(stream.stamps)
        try:
            stream.sock.send(_tail(len(stream.stamps)))
        except OSError:
            self._drop(stream)
        stream.stamps = array("q")

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ask_for_stamps(sock)
            self._streams[sock.fileno()] = Stream(sock)
            self._poll.register(sock.fileno(), select.EPOLLIN)

    def _drop(self, stream: Stream) -> None:
        self._streams.pop(stream.sock.fileno(), None)
        stream.left = 0
        stream.sock.close()

    def _read(self, stream: Stream) -> None:
        try:
            data, ancillary, _, _ = stream.sock.recvmsg(65536, ANCILLARY_BYTES)
        except OSError:
            data, ancillary = b"", []
        if not data:
            self._drop(stream)
            return
        stream.inbox += data
        head, mark, body = stream.inbox.partition(b"\r\n\r\n")
        if not mark:
            return
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        if len(body) < length:
            return
        stream.inbox = b""
        if head.startswith(b"GET /stamps"):
            self._dump(stream, self._finished)
        elif head.startswith(b"GET /sends"):
            self._dump(stream, self._durations)
        else:
            self._begin(stream, json.loads(body), self._arrived_ns(ancillary))

    def _arrived_ns(self, ancillary: list[tuple[int, int, bytes]]) -> int:
        if not ancillary:  # the kernel begins to stamp some milliseconds after the first socket asks
            return _now_ns()
        seconds, nanoseconds = unpack_timespec(ancillary[0][2])
        return int(seconds * 1_000_000_000 + nanoseconds - self._offset_ns)

    def _dump(self, stream: Stream, numbers: "array[int]") -> None:
        data = numbers.tobytes()
        del numbers[:]
        stream.sock.setblocking(True)
        stream.sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data))
        stream.sock.setblocking(False)

    def _begin(self, stream: Stream, asked: dict[str, str], arrived_ns: int) -> None:
        stream.id = int(asked["user"])
        stream.left = int(asked["max_tokens"])
        stream.itl_ns = int(asked["itl_us"]) * 1000
        stream.arrived_ns = arrived_ns
        stream.due_ns = _now_ns() + stream.itl_ns  # from now: the queue is in order of due times
        stream.sock.send(_HEAD)
        self._queue.append(stream)


def main() -> None:
    parser = argparse.ArgumentParser(description="a server that stamps each chunk right before it sends it")
    parser.add_argument("--cpu", type=int, help="run on this core only")
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    server = ReferenceServer()
    print(f"listening on http://127.0.0.1:{server.port}", flush=True)
    server.serve()


if __name__ == "__main__":
    main()
