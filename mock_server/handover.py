"""Handing a request over to the worker that owns its replica (or what it asks for), with its connection.

The connection's descriptor goes to the other process with the request's bytes; from then on that process
serves the connection, so that no byte of an answer passes through two processes. Requests that were pipelined
behind it are lost.
"""

import asyncio
import secrets
import socket

from aiohttp import web

from mock_server.body import Body
from mock_server.connection import connection_of, written

_HEADER = "x-mock-handed-over"
_DROPPED = frozenset({b"content-length", b"transfer-encoding", b"content-encoding", b"expect"})


class HandOverError(Exception):
    """This request is another worker's. replica: its index, where it was chosen already."""

    def __init__(self, worker: int, *, body: Body | None = None, replica: int | None = None) -> None:
        super().__init__(worker)
        self.worker = worker
        self.body = body
        self.replica = replica


class HandOver:
    """secret: known to the workers of one mock, so that no client can claim to have been handed over."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def chosen_replica(self, request: web.Request) -> int | None:
        """The replica that another worker chose for this request."""
        replica = request.headers.get(_HEADER, "").partition(" ")[2]
        return int(replica) if replica and self.was_handed(request) else None

    def was_handed(self, request: web.Request) -> bool:
        secret = request.headers.get(_HEADER, "").partition(" ")[0]
        return secrets.compare_digest(secret.encode(errors="surrogateescape"), self._secret.encode())

    def request_bytes(self, request: web.Request, error: HandOverError) -> bytes:
        """The request again, as it would have come from the client."""
        body = b"" if error.body is None else error.body.whole()
        major, minor = request.version
        lines = [f"{request.method} {request.path_qs} HTTP/{major}.{minor}".encode()]
        lines += [
            name + b": " + value
            for name, value in request.raw_headers
            if name.lower() not in _DROPPED and name.lower() != _HEADER.encode()
        ]
        replica = "" if error.replica is None else str(error.replica)
        lines.append(f"{_HEADER}: {self._secret} {replica}".encode())
        lines.append(b"content-length: %d" % len(body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + body


def release(request: web.Request) -> tuple[int, web.StreamResponse]:
    """(the connection's descriptor, what to return): this process reads no more, and closes its own copy."""
    transport = connection_of(request)
    transport.pause_reading()
    sock = transport.get_extra_info("socket")
    return sock.fileno(), written(keep_alive=False)


async def adopt(server: web.Server, sock: socket.socket, request: bytes) -> None:
    """Serves a connection that was handed over, its first request first."""
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        _, protocol = await loop.connect_accepted_socket(server, sock)
    except OSError:  # the client has left meanwhile
        sock.close()
        return
    protocol.data_received(request)
