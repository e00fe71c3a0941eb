"""Events prepared before their step ends: over real sockets, with clients that leave or do not read."""

import asyncio
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any

import pytest

from mock_server import realtime
from mock_server.burst import Burst
from mock_server.connection import direct_fd
from mock_server.sink import Prepared, Sink
from servebench.engine.sequence import Emission, Sequence
from tests.mock_server.fast_mock import fast_mock, fast_tier
from tests.mock_server.raw_http import ask, chat_body, stream_chat, whole_chat


class OneEvent(Sink):
    def __init__(self, transport: asyncio.Transport, data: bytes) -> None:
        self.last_s = -1.0
        self.ended = False
        self._prepared = transport, direct_fd(transport), data

    def emit(self, tokens: int, second: int, finished: bool) -> None:
        raise AssertionError("it was prepared")

    def prepare(self, second: int, end_s: float, finished: bool) -> Prepared | None:
        return self._prepared

    def prepared_end(self) -> None:
        self.ended = True


def burst_of(
    ids: list[int], sinks: Mapping[int, Sink], *, finished: bool = False, until_s: float = inf
) -> Burst:
    emissions = [Emission(Sequence(i, 0.0, 1, 1), 1, False, finished) for i in ids]
    errors: list[Exception] = []
    burst = Burst(emissions, sinks, second=1, end_s=1.0, until_s=until_s, on_error=errors.append)
    assert errors == []
    return burst


Test = Callable[[list[asyncio.Transport], list[socket.socket]], Awaitable[None]]


def over_sockets(count: int, test: Test) -> None:
    """Runs test with the transports of a server and the sockets of its clients, which have small buffers."""

    async def run() -> None:
        accepted: asyncio.Queue[asyncio.Transport] = asyncio.Queue()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                accepted.put_nowait(transport)

        loop = asyncio.get_running_loop()
        server = await loop.create_server(Protocol, "127.0.0.1", 0)
        clients, transports = [], []
        for _ in range(count):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, server.sockets[0].getsockname())
            clients.append(client)
            transports.append(await accepted.get())
        try:
            await asyncio.wait_for(test(transports, clients), 20)
        finally:
            for client in clients:
                client.close()
            for transport in transports:
                transport.abort()
            server.close()

    asyncio.run(run())


async def read(client: socket.socket, size: int) -> bytes:
    loop, got = asyncio.get_running_loop(), b""
    while len(got) < size:
        part = await loop.sock_recv(client, size - len(got))
        if not part:
            break
        got += part
    return got


def test_each_stream_gets_its_event_at_once() -> None:
    async def check(transports: list[asyncio.Transport], clients: list[socket.socket]) -> None:
        sinks: dict[int, Sink] = {i: OneEvent(t, b"event %d" % i) for i, t in enumerate(transports)}
        burst = burst_of([2, 0], sinks)
        assert list(burst.prepared) == [2, 0]
        burst.send()
        assert [clients[i].recv(100) for i in (2, 0)] == [b"event 2", b"event 0"]
        with pytest.raises(BlockingIOError):  # that one was not asked for
            clients[1].recv(100)

    over_sockets(3, check)


def test_who_does_not_read_gets_the_rest_later_and_in_order_and_holds_up_nobody() -> None:
    async def check(transports: list[asyncio.Transport], clients: list[socket.socket]) -> None:
        long = b"".join(b"%7d " % i for i in range(1_000_000))
        sinks: dict[int, Sink] = {0: OneEvent(transports[0], long), 1: OneEvent(transports[1], b"short")}
        burst_of([0, 1], sinks).send()
        assert transports[0].get_write_buffer_size() > 0
        assert clients[1].recv(100) == b"short"
        burst_of([0, 1], sinks).send()  # its buffer is full now: the kernel takes nothing
        assert clients[1].recv(100) == b"short"
        assert await read(clients[0], 2 * len(long)) == long * 2

    over_sockets(2, check)


def test_a_closed_connections_descriptor_is_not_written_to() -> None:
    async def check(transports: list[asyncio.Transport], clients: list[socket.socket]) -> None:
        sinks: dict[int, Sink] = {i: OneEvent(t, b"event") for i, t in enumerate(transports)}
        burst, freed = burst_of([0, 1], sinks), direct_fd(transports[0])
        transports[0].abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        stranger, other = socket.socketpair()
        with stranger, other:
            assert freed in (stranger.fileno(), other.fileno())
            burst.send()
            assert clients[1].recv(100) == b"event"
            other.setblocking(False)
            stranger.setblocking(False)
            for end in (other, stranger):
                with pytest.raises(BlockingIOError):
                    end.recv(100)

    over_sockets(2, check)


def test_who_is_cancelled_gets_nothing_and_the_others_their_events() -> None:
    async def check(transports: list[asyncio.Transport], clients: list[socket.socket]) -> None:
        sinks = {i: OneEvent(t, b"event %d" % i) for i, t in enumerate(transports)}
        burst = burst_of([0, 1, 2], sinks, finished=True)
        burst.drop(1)
        burst.drop(7)
        burst.send()
        assert [clients[i].recv(100) for i in (0, 2)] == [b"event 0", b"event 2"]
        assert [sink.ended for sink in sinks.values()] == [True, False, True]
        with pytest.raises(BlockingIOError):
            clients[1].recv(100)

    over_sockets(3, check)


def test_what_there_is_no_time_for_is_left_to_the_end() -> None:
    async def check(transports: list[asyncio.Transport], clients: list[socket.socket]) -> None:
        sinks: dict[int, Sink] = {0: OneEvent(transports[0], b"event")}
        burst = burst_of([0], sinks, until_s=time.monotonic() - 1)
        assert burst.prepared == {}
        burst.send()
        with pytest.raises(BlockingIOError):
            clients[0].recv(100)

    over_sockets(1, check)


def test_a_stream_over_several_seconds_says_each_and_loses_nothing() -> None:
    asked = {"max_completion_tokens": 260, "reasoning_effort": "low", "seed": 3}
    with fast_mock(fast_tier(0.005)) as mock:
        whole = whole_chat(mock.url, **asked)
        streamed = stream_chat(mock.url, **asked)
    assert whole["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0
    seconds = [event["created"] for event in streamed]
    assert seconds == sorted(seconds)
    assert len(set(seconds)) >= 2
    deltas = [event["choices"][0]["delta"] for event in streamed if event["choices"]]
    for field in ("content", "reasoning_content"):
        assert "".join(delta.get(field, "") for delta in deltas) == whole["choices"][0]["message"][field]


TOOL = {"name": "look_up", "parameters": {"type": "object", "properties": {"word": {"type": "string"}}}}
LITTLE = {"effort": "low"}
ASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", chat_body(max_completion_tokens=5, reasoning_effort="low")),
    "one token": ("/v1/chat/completions", chat_body(max_completion_tokens=1, reasoning_effort="none")),
    "tools": (
        "/v1/chat/completions",
        chat_body(tools=[{"type": "function", "function": TOOL}], reasoning_effort="none"),
    ),
    "responses": (
        "/v1/responses",
        {"model": "grok-4.3", "input": "hello", "max_output_tokens": 5, "reasoning": LITTLE},
    ),
    "response with tools": (
        "/v1/responses",
        {"model": "grok-4.3", "input": "hello", "tools": [{"type": "function", **TOOL}], "reasoning": LITTLE},
    ),
}


@pytest.mark.parametrize("name", ASKS)
def test_events_made_ahead_are_those_that_are_made_at_the_end(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked = ASKS[name]
    bodies = []
    with fast_mock(fast_tier(0.004)) as mock:
        for margin_s in (0.0, realtime._PREPARED_BEFORE_S, inf):  # the first fills the prefix cache
            monkeypatch.setattr(realtime, "_PREPARED_BEFORE_S", margin_s)
            status, headers, body = ask(mock.url, path, {**asked, "stream": True, "seed": 3})
            assert status == 200
            assert float(headers["x-metrics-ttft-ms"]) >= 4
            bodies.append(re.sub(rb'[0-9a-f]{8}-[-0-9a-f]{27}|"(created\w*|completed_at)":\d+', b"", body))
    assert bodies[1] == bodies[2]
