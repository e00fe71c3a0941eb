"""Faults put into a mock, and what a client and the mock's own journal see of them."""

import contextlib
import json
import socket
from typing import Any

from tests.mock_server.metrics_page import total
from tests.mock_server.raw_http import ask, chat_body, connect, request_bytes

PATH = "/v1/chat/completions"


def inject(url: str, *rules: dict[str, Any], **document: Any) -> None:
    status, _, body = ask(url, "/admin/config", {"faults": rules, **document})
    assert status == 200, body


def short(stream: bool = True, tokens: int = 10, content: str = "hello") -> dict[str, Any]:
    options = {"stream_options": {"include_usage": True}} if stream else {}
    return chat_body(content, stream=stream, max_completion_tokens=tokens, reasoning_effort="none", **options)


def raw_answer(url: str, body: dict[str, Any]) -> tuple[bytes, bool]:
    """(all bytes until the server closes or has ended the body, was it reset?)"""
    with connect(url) as connection:
        connection.settimeout(10)
        connection.sendall(request_bytes("POST", PATH, json.dumps(body).encode()))
        seen = b""
        try:
            while not seen.endswith(b"\r\n0\r\n\r\n"):
                data = connection.recv(65536)
                if not data:
                    break
                seen += data
        except ConnectionResetError:
            return seen, True
        return seen, False


def injected(url: str, kind: str) -> float:
    return total(url, "mock_injected_faults_total", kind=kind)


def last_entry(url: str) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(ask(url, "/admin/journal?last=1", method="GET")[2])
    return entry


def drain(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        assert b"[DONE]" not in data


def assert_ends(connection: socket.socket) -> None:
    with contextlib.suppress(ConnectionResetError):
        drain(connection)
