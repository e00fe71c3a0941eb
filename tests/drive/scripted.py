"""A sender with its loop against a scripted server: what comes of a few requests."""

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

from servebench.catalog.load import load_catalog
from servebench.cost.budget import Lender, Statement
from servebench.drive.billing import Biller
from servebench.drive.money import Money
from servebench.drive.retries import RetryRules
from servebench.drive.sender import Sender
from servebench.meter import RequestRecord
from servebench.meter.call import Call, Target, Timeouts
from servebench.meter.engine_loop import EngineLoop
from servebench.workload.spec import RequestSpec
from tests.meter.servers import read_request, serve

SHEET = load_catalog().price("grok-4.3")
USAGE = {
    "prompt_tokens": 500, "completion_tokens": 10, "total_tokens": 510,
    "cost_in_usd_ticks": 500 * 12_500 + 10 * 25_000,
}  # fmt: skip


def answer(usage: dict[str, Any] | None = USAGE) -> bytes:
    body: dict[str, Any] = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    text = json.dumps(body if usage is None else {**body, "usage": usage}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(text),
        text,
    )


def refusal(status: int, error: str = "no", *headers: str) -> bytes:
    text = json.dumps({"code": "x", "error": error}).encode()
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(text)}\r\n\r\n".encode() + text


class Scripted:
    """Answers the n-th request over all connections with the n-th bytes; the last ones go on for ever."""

    def __init__(self, *answers: bytes, delay_s: float = 0.0) -> None:
        self.answers, self.delay_s = answers, delay_s
        self.at_s: list[float] = []
        self._lock = threading.Lock()

    def __call__(self, sock: socket.socket) -> None:
        while True:
            read_request(sock)
            with self._lock:
                number = len(self.at_s)
                self.at_s.append(time.monotonic())
            time.sleep(self.delay_s)
            sock.sendall(self.answers[min(number, len(self.answers) - 1)])


Done = list[tuple[RequestRecord, dict[str, int]]]


def _spec(number: int) -> RequestSpec:
    return RequestSpec(
        id=number, class_name="chat", session=None, turn=0, model="grok-4.3", prompt_tokens=500,
        output_tokens=10, reasoning_effort="low", tool_names=(), tool_choice=None, prefix_key="",
        prefix_tokens=0,
    )  # fmt: skip


def send(
    server: Callable[[socket.socket], None],
    count: int = 1,
    *,
    rules: RetryRules | None = None,
    money: Callable[[Callable[[Statement], None]], Money] | None = None,
    lender: Lender | None = None,
    gap_s: float = 0.0,
    close_after_s: float | None = None,
) -> tuple[Done, Sender, list[str]]:
    """The records and their charges in order of completion."""
    done: Done = []
    stops: list[str] = []
    over = Event()

    def ended(record: RequestRecord, chunk_us: Any, charge: dict[str, int]) -> None:
        done.append((record, charge))
        if len(done) == count:
            over.set()

    with serve(server) as port:
        loop = EngineLoop(Target("127.0.0.1", port), timeouts=Timeouts(first_byte_s=3.0))

        def now_ns() -> int:
            return time.monotonic_ns() - loop.t0_ns

        def hear(statement: Statement) -> None:
            assert lender is not None
            for lease in lender.hear(statement):
                sender.lease(lease)

        def speak(statement: Statement) -> None:
            gevent.get_hub().loop.run_callback(hear, statement)

        sender = Sender(
            loop,
            biller=Biller(SHEET),
            rules=rules or RetryRules(),
            seed=1,
            now_ns=now_ns,
            stop=stops.append,
            money=None if money is None else money(speak),
        )
        try:
            if lender is not None:
                for lease in lender.open():
                    sender.lease(lease)
            with gevent.Timeout(20):
                for number in range(count):
                    call = Call(number, "chat", None, 0, "grok-4.3", now_ns(), b"{}", 10)
                    sender.submit(call, _spec(number), ended)
                    gevent.sleep(gap_s)
                if close_after_s is not None:
                    gevent.sleep(close_after_s)
                    sender.close()
                over.wait()
            return done, sender, stops
        finally:
            loop.close()
