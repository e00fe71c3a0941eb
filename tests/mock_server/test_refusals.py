"""Every refusal: its status and its body."""

import json
from typing import Any

import pytest

from tests.mock_server.metrics_page import total
from tests.mock_server.raw_http import ask, chat_body, connect, read_answer, request_bytes
from tests.mock_server.server_process import running_mock

CHAT = "/v1/chat/completions"
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def flat(body: bytes) -> dict[str, str]:
    content: dict[str, str] = json.loads(body)
    assert list(content) == ["code", "error"]
    return content


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (chat_body(n=0), 400, "n must be between 1 and 128, got 0"),
        (chat_body(n=129), 400, "n must be between 1 and 128, got 129"),
        (chat_body(stop=["x"]), 400, "Argument not supported on this model: stop"),
        (chat_body(presence_penalty=0.5), 400, "presence_penalty"),
        (chat_body(max_completion_tokens=0), 400, "max_completion_tokens must be at least 1"),
        (chat_body(reasoning_effort="maximal"), 400, "maximal is not one of none, low"),
        (chat_body(service_tier="gold"), 400, "gold"),
        (chat_body(deferred=True, stream=True), 400, "deferred"),
        (chat_body(temperature=2.5), 400, "temperature must be between 0 and 2, got 2.5"),
        (chat_body(stop=list("abcde"), reasoning_effort="none"), 400, "at most 4 sequences"),
        (chat_body(tool_choice="required"), 400, "no tools were given"),
        (chat_body(tools=TOOLS * 400), 400, "at most 350"),
        (chat_body(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "g"}}), 400, "tool g"),
        ({"model": "grok-4.3", "messages": []}, 400, "Messages cannot be empty"),
        (
            {"model": "grok-4.3", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "text parts only",
        ),
        (chat_body(model="grok-99"), 404, "The model grok-99 does not exist or your team"),
    ],
)
def test_refused_values_have_flat_bodies(mock_url: str, body: Any, code: int, text: str) -> None:
    status, headers, answer = ask(mock_url, CHAT, body)
    assert status == code
    assert headers["content-type"].startswith("application/json")
    assert text in flat(answer)["error"]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"messages": [{"role": "user", "content": "x"}]},
        {"model": "grok-4.3"},
        {"model": 4, "messages": []},
        {"model": "grok-4.3", "messages": ["x"]},
        {"model": "grok-4.3", "messages": [{"role": "king", "content": "x"}]},
        {"model": "grok-4.3", "messages": [{"role": "user"}]},
        {"model": "grok-4.3", "messages": [{"role": "user", "content": 7}]},
        {"model": "grok-4.3", "messages": [{"role": "user", "content": [7]}]},
        chat_body(stream="yes"),
        chat_body(max_tokens=True),
        chat_body(max_tokens=1.5),
        chat_body(n=1.5),
        chat_body(stop=[1]),
        chat_body(stop=7),
        chat_body(temperature="hot"),
        chat_body(logprobs=1),
        chat_body(tools=[{"type": "function"}]),
        chat_body(tools=[{"type": "function", "function": {"name": "f", "parameters": 3}}]),
        chat_body(tool_choice="sometimes"),
        chat_body(tool_choice=3),
        chat_body(response_format={"type": "xml"}),
        chat_body(response_format={"type": "json_schema", "json_schema": {}}),
        chat_body(stream_options=[]),
    ],
)
def test_wrong_types_are_422_in_plain_text(mock_url: str, body: Any) -> None:
    status, headers, answer = ask(mock_url, CHAT, body)
    assert status == 422, answer
    assert headers["content-type"].startswith("text/plain")
    assert answer.startswith(b"Failed to deserialize the JSON body into the target type: ")


def test_a_message_without_a_role_is_told_so(mock_url: str) -> None:
    for path, name in ((CHAT, "messages"), ("/v1/responses", "input")):
        status, _, answer = ask(mock_url, path, {"model": "grok-4.3", name: [{"content": "x"}]})
        assert status == 422
        assert f"{name}[0]: missing field `role`" in answer.decode()


def test_a_key_that_is_no_text_is_a_wrong_one(mock_url: str) -> None:
    body = json.dumps(chat_body(max_completion_tokens=1, reasoning_effort="none")).encode()
    sent = request_bytes("POST", CHAT, body, {"Authorization": "Bearer KEY"})
    with connect(mock_url) as connection:
        connection.sendall(sent.replace(b"KEY", b"\xff\xfe"))
        status, _, answer = read_answer(connection)
    assert (status, flat(answer)["code"]) == (400, "invalid-argument")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"model": NaN}'])
def test_what_is_not_json_is_400_in_plain_text(mock_url: str, body: bytes) -> None:
    headers = {"Authorization": "Bearer any", "Content-Type": "application/json"}
    status, answered, answer = ask(mock_url, CHAT, body, headers=headers)
    assert status == 400
    assert answered["content-type"].startswith("text/plain")
    assert answer.startswith(b"Failed to parse the request body as JSON: ")


@pytest.mark.parametrize(
    ("header", "sent"),
    [("Content-Encoding: gzip\r\nContent-Length: 5", b"abcde"), ("Transfer-Encoding: chunked", b"zz\r\n")],
)
def test_a_body_that_is_not_encoded_as_it_says_is_400(mock_url: str, header: str, sent: bytes) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: mock\r\nAuthorization: Bearer any\r\n{header}\r\n"
    with connect(mock_url) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + sent)
        assert read_answer(connection)[0] == 400


def test_content_type_method_and_route(mock_url: str) -> None:
    headers = {"Authorization": "Bearer any", "Content-Type": "text/plain"}
    assert ask(mock_url, CHAT, chat_body(), headers=headers)[0] == 415
    status, _, body = ask(mock_url, CHAT, method="GET")
    assert status == 405
    assert "GET" in flat(body)["error"]
    status, _, body = ask(mock_url, "/v1/nothing", method="GET")
    assert status == 404
    assert "/v1/nothing" in flat(body)["error"]
    assert ask(mock_url, "/v1/models/grok-99", method="GET")[0] == 404


def test_a_missing_key_is_401_everywhere_under_v1(mock_url: str) -> None:
    for method, path in (("POST", CHAT), ("GET", "/v1/models"), ("GET", "/v1/models/grok-4.3")):
        status, _, body = ask(
            mock_url, path, chat_body() if method == "POST" else None, method=method, headers={"X": "y"}
        )
        assert status == 401
        assert flat(body) == {"code": "unauthenticated:no-credentials", "error": "No credentials presented."}
    assert ask(mock_url, "/health", method="GET", headers={"X": "y"})[0] == 200


def test_a_wrong_key_is_400_where_keys_are_named() -> None:
    with running_mock("--tier", "grok-4.3", "--key", "one", "--key", "two") as url:
        for key, code in (("one", 200), ("two", 200), ("three", 400)):
            status, _, body = ask(url, "/v1/models", method="GET", headers={"Authorization": f"Bearer {key}"})
            assert status == code
        assert flat(body)["code"] == "invalid-argument"
        assert flat(body)["error"].startswith("Incorrect API key provided.")


@pytest.mark.parametrize(
    ("key", "code", "kind", "text"),
    [
        (
            "xai-mock-no-credits",
            403,
            "permission-denied",
            "used all available credits or reached its",
        ),
        ("xai-mock-rate-limited", 429, "resource-exhausted", "Requests per Second (actual/limit): 2/2."),
        ("xai-mock-at-capacity", 429, "resource-exhausted", "temporarily at capacity"),
        ("xai-mock-unsafe", 403, None, "Failed check: SAFETY_CHECK_TYPE_CYBER"),
    ],
)
def test_some_keys_stand_for_a_refusal(
    fast_url: str, key: str, code: int, kind: str | None, text: str
) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    before = total(fast_url, "mock_billed_ticks_total")
    for path, body in ((CHAT, chat_body()), ("/v1/responses", {"model": "grok-4.3", "input": "x"})):
        status, answered, answer = ask(fast_url, path, body, headers=headers)
        assert ("retry-after" in answered) == (code == 429)
        refusal = json.loads(answer)
        assert (status, refusal.get("code")) == (code, kind)
        assert text in refusal["error"]
        assert ask(fast_url, "/v1/models", method="GET", headers=headers)[0] == 200
    fee = 500_000_000 if kind is None else 0  # $0.05, of responses alone
    assert total(fast_url, "mock_billed_ticks_total") - before == fee
    last = ask(fast_url, "/admin/journal?last=1", method="GET")[2]
    assert json.loads(last)["billed_ticks"] == fee
