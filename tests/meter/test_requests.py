"""What goes out and where to: targets, headers, the key that is seen nowhere, large bodies."""

import json
import socket
import time

import pytest

from servebench.errors import OperationError, UsageError
from servebench.meter.call import Call, Target
from servebench.meter.engine_loop import EngineLoop
from servebench.meter.record import Outcome
from tests.meter.chat_stream import GOOD, refusal
from tests.meter.servers import (
    read_request,
    replies,
    run_calls,
    serve,
)


def test_an_early_refusal_of_a_large_request_is_read() -> None:
    """The server answers 413 and closes before it has read the prompt."""

    def handler(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(refusal(b"413 Too Large", b'{"error":"too long"}'))
        sock.shutdown(socket.SHUT_WR)
        time.sleep(0.2)

    with serve(handler) as port:
        results, _ = run_calls(port, body=b"x" * 20_000_000)
    assert (results[0][0].outcome, results[0][0].error) == (Outcome.HTTP_4XX, "too long")


def test_a_large_request_goes_out_whole() -> None:
    sizes: list[int] = []

    def handler(sock: socket.socket) -> None:
        sizes.append(len(read_request(sock)[1]))
        sock.sendall(GOOD)

    with serve(handler) as port:
        results, _ = run_calls(port, body=b"x" * 5_000_000)
    assert results[0][0].ok
    assert sizes == [5_000_000]


KEY = "xai-topsecret0123456789topsecret0123456789"


def test_a_conversation_is_named_in_a_header_of_its_own() -> None:
    heads: list[bytes] = []

    def handler(sock: socket.socket) -> None:
        heads.append(read_request(sock)[0])
        sock.sendall(GOOD)

    with serve(handler) as port:
        for conv_id in ("", "7/agent/session/3", ""):
            assert run_calls(port, conv_id=conv_id)[0][0][0].ok
    assert [head.count(b"x-grok-conv-id") for head in heads] == [0, 1, 0]
    assert b"\r\nx-grok-conv-id: 7/agent/session/3\r\n" in heads[1]
    for wrong in ("a\r\nx-evil: 1", "é", "a\x00"):
        with pytest.raises(UsageError, match="conv_id"):
            Call(1, "c", None, 0, "m", 0, b"", conv_id=wrong)


def test_the_key_is_sent_and_seen_nowhere() -> None:
    heads: list[bytes] = []

    def handler(sock: socket.socket) -> None:
        heads.append(read_request(sock)[0])
        sock.sendall(
            refusal(b"400 Bad", json.dumps({"error": f"Incorrect API key provided: {KEY}"}).encode())
        )

    headers = {"Authorization": f"Bearer {KEY}", "X-Conv": "7"}
    with serve(handler) as port:
        target = Target.parse(f"http://127.0.0.1:{port}/base/v1")
        results, _ = run_calls(port, headers=headers, target=target)
        loop = EngineLoop(target, headers=headers)
        texts = [repr(loop), repr(target), repr(results), str(results[0][0].to_json()), repr(loop.health())]
        loop.close()
    assert heads[0].startswith(b"POST /base/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % port)
    assert b"\r\nauthorization: Bearer " + KEY.encode() in heads[0]
    assert b"\r\nx-conv: 7" in heads[0]
    assert not [text for text in texts if "topsecret" in text]
    assert results[0][0].error.startswith("Incorrect API key provided: [redacted]")


@pytest.mark.parametrize(
    "headers",
    [{"authorization": "Bearer a\r\nx: y"}, {"host": "x"}, {"bad name": "x"}, {"authorization": "schlüssel"}],
)
def test_headers_that_cannot_be_sent_are_refused_without_their_value(headers: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        EngineLoop(Target("127.0.0.1", 1), headers=headers)
    assert not any(value in str(caught.value) for value in headers.values() if value != "x")


def test_names_are_resolved_and_unknown_ones_refused() -> None:
    with serve(replies(GOOD)) as port:
        results, _ = run_calls(port, target=Target("localhost", port))
    assert results[0][0].ok
    for name in ("nowhere.invalid", "x" * 70 + ".y", "a..b"):
        with pytest.raises(OperationError, match=name[:20].replace(".", r"\.")):
            EngineLoop(Target(name, 80))


@pytest.mark.parametrize(
    "url",
    ["localhost:80", "ftp://x", "http://", "http://u:p@x", "http://x?q=1", "http://x:99999", "http://x/a b"],
)
def test_target_urls_that_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="target URL"):
        Target.parse(url)


def test_target_urls() -> None:
    assert Target.parse("http://h:81/") == Target("h", 81)
    assert Target.parse("https://api.x.ai/v1") == Target("api.x.ai", 443, tls=True)
    assert Target.parse("https://api.x.ai").authority == "api.x.ai"
    assert Target.parse("http://[::1]:8/p/v1/").authority == "[::1]:8"
    assert Target.parse("http://[::1]:8/p/v1/").prefix == "/p"
