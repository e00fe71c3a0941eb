"""Sessions name themselves in x-grok-conv-id, and that alone leads their calls to one replica's cache."""

import json
import re
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.mock_server.server_process import running_mock

SCENARIO = Path(__file__).parent / "sessions.yaml"

Request = tuple[bytes, bytes]  # head, body


def read_request(source: socket.socket, held: bytes) -> tuple[Request, bytes]:
    """The next request and what came after it. ConnectionError at the end of the connection."""
    while b"\r\n\r\n" not in held:
        held += received(source)
    head, _, held = held.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    size = int(length[1]) if length else 0
    while len(held) < size:
        held += received(source)
    return (head, held[:size]), held[size:]


def received(source: socket.socket) -> bytes:
    data = source.recv(1 << 16)
    if not data:
        raise ConnectionError
    return data


@contextmanager
def without_body_keys(url: str) -> Iterator[tuple[str, list[Request]]]:
    """A proxy that hides prompt_cache_key from the server, and notes what came."""
    parts = urlsplit(url)
    seen: list[Request] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((parts.hostname, parts.port)) as server:
            threading.Thread(target=pump, args=(server, client), daemon=True).start()
            held = b""
            with suppress(OSError):
                while True:
                    request, held = read_request(client, held)
                    seen.append(request)
                    head, body = request
                    hidden = body.replace(b'"prompt_cache_key"', b'"prompt_cache_hid"')  # of the same length
                    server.sendall(head + b"\r\n\r\n" + hidden)

    def accept() -> None:
        with suppress(OSError):  # closed
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)


@pytest.mark.slow
def test_the_header_alone_leads_a_session_to_its_cache(tmp_path: Path) -> None:
    flags = ("--tier", "grok-4.3", "--replicas", "3", "--router", "round-robin")
    with running_mock(*flags) as mock, without_body_keys(mock) as (url, seen):
        command = ["run", str(SCENARIO), "--target", url, "--processes", "0", "--task-grace", "20", "--quiet"]
        done = subprocess.run(
            [sys.executable, "-m", "servebench", *command, "--out", "r"],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode in (0, 5), done.stderr  # a busy machine may be INVALID
    chats = [(head, json.loads(body)) for head, body in seen if head.startswith(b"POST")]
    assert len(chats) == 24
    for head, body in chats:
        named = re.findall(rb"x-grok-conv-id: (\S+)\r\n", head)
        assert named == [body["prompt_cache_key"].encode()]
    assert len({body["prompt_cache_key"] for _, body in chats}) == 8
    calls = defaultdict(list)
    for line in (tmp_path / "r" / "requests.jsonl").read_text().splitlines():
        row = json.loads(line)
        calls[row["session"]].append((row["turn"], row["cached_tokens"], row["prompt_tokens"]))
    for rows in calls.values():
        for (_, _, before), (_, cached, _) in pairwise(sorted(rows)):
            assert cached >= before - 128, "the replica that had read it"
