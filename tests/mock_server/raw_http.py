"""HTTP as bytes, for tests of what the openai client hides."""

import json
import socket
from typing import Any
from urllib.parse import urlsplit

AUTH = {"Authorization": "Bearer any"}


def chat_body(content: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": "grok-4.3", "messages": [{"role": "user", "content": content}], **fields}


def request_bytes(
    method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, version: str = "1.1"
) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: mock", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or AUTH).items()]
    if body and "Content-Type" not in (headers or {}):
        lines.append("Content-Type: application/json")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port or 80), timeout=30)


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """(status, headers in lower case, body without its framing) of one answer."""
    stream = connection.makefile("rb")
    status = int(stream.readline().split()[1])
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        return status, headers, b"".join(read_chunks(stream))
    length = headers.get("content-length")
    return status, headers, stream.read() if length is None else stream.read(int(length))


def read_chunks(stream: Any) -> list[bytes]:
    chunks = []
    while size := int(stream.readline(), 16):
        chunks.append(stream.read(size))
        assert stream.read(2) == b"\r\n"
    assert stream.readline() == b"\r\n"
    return chunks


def ask(
    url: str, path: str, body: Any = None, *, method: str = "POST", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own. body: bytes, or what becomes JSON."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    with connect(url) as connection:
        connection.sendall(request_bytes(method, path, raw, headers))
        return read_answer(connection)


def events(body: bytes) -> list[Any]:
    """The JSON of every event before [DONE], which must be last."""
    parts = body.decode().split("\n\n")
    assert parts[-2:] == ["data: [DONE]", ""]
    return [json.loads(part.removeprefix("data: ")) for part in parts[:-2]]


def stream_chat(url: str, **fields: Any) -> list[Any]:
    fields.setdefault("stream_options", {"include_usage": True})
    status, _, body = ask(url, "/v1/chat/completions", chat_body(stream=True, **fields))
    assert status == 200, body
    return events(body)


def whole_chat(url: str, **fields: Any) -> Any:
    status, _, body = ask(url, "/v1/chat/completions", chat_body(**fields))
    assert status == 200, body
    return json.loads(body)
