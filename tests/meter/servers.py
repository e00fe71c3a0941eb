"""Servers that misbehave on purpose: a thread per connection, port 0, plain blocking sockets."""

import dataclasses
import socket
import struct
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import gevent
from gevent.event import Event

from servebench.meter.call import Call, Target, Timeouts
from servebench.meter.engine_loop import EngineLoop
from servebench.meter.health import Health
from servebench.meter.record import RequestRecord

Handler = Callable[[socket.socket], None]
Result = tuple[RequestRecord, "array[int]"]

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FAST = Timeouts(connect_s=1.0, first_byte_s=0.3, idle_s=0.3, total_s=5.0)


@contextmanager
def serve(handler: Handler) -> Iterator[int]:
    """The port of a server that runs handler(socket) in a thread for each connection, then closes it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    threads: list[threading.Thread] = []

    def one(sock: socket.socket) -> None:
        with sock:
            try:
                handler(sock)
            except OSError:
                return  # the client left first

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threads.append(threading.Thread(target=one, args=(sock,), daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(5)
        for thread in threads:
            thread.join(5)


def read_request(sock: socket.socket) -> tuple[bytes, bytes]:
    """(head, body); OSError when the client has closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise ConnectionError("closed")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        more = sock.recv(65536)
        if not more:
            raise ConnectionError("closed")
        body += more
    return head, body


def replies(*parts: bytes | float, times: int = 1) -> Handler:
    """Answers `times` requests on a connection: bytes are sent, a number is slept (s)."""

    def handler(sock: socket.socket) -> None:
        for _ in range(times):
            read_request(sock)
            for part in parts:
                if isinstance(part, bytes):
                    sock.sendall(part)
                else:
                    time.sleep(part)

    return handler


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def make_call(call_id: int = 0, *, intended_ns: int = 0, body: bytes = b'{"stream":true}') -> Call:
    return Call(call_id, "chat", None, 0, "grok-4.3", intended_ns, body, asked_output_tokens=4)


def run_calls(
    port: int,
    count: int = 1,
    *,
    at_once: int = 1,
    timeouts: Timeouts = FAST,
    headers: Mapping[str, str] | None = None,
    target: Target | None = None,
    body: bytes = b'{"stream":true}',
    conv_id: str = "",
) -> tuple[list[Result], Health]:
    """The results of `count` calls, `at_once` in flight, in order of completion."""
    loop = EngineLoop(
        target or Target("127.0.0.1", port), headers=headers, timeouts=timeouts, max_in_flight=at_once
    )
    results: list[Result] = []
    over = Event()

    def done(record: RequestRecord, chunk_us: "array[int]") -> None:
        results.append((record, chunk_us))
        if len(results) == count:
            over.set()

    try:
        with gevent.Timeout(15):
            for place in range(count):
                now_ns = time.monotonic_ns() - loop.t0_ns
                call = make_call(place, intended_ns=now_ns, body=body)
                loop.submit(dataclasses.replace(call, conv_id=conv_id), done)
            over.wait()
        return results, loop.health()
    finally:
        loop.close()
