"""/v1/api-key, /v1/tokenize-text, and the kinds of models of which none is served."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.account_api import key_json
from mock_server.tokenization import tokens_of
from tests.mock_server.raw_http import ask, whole_chat


def tokenized(url: str, text: str) -> Any:
    status, headers, body = ask(url, "/v1/tokenize-text", {"model": "grok-4.3", "text": text})
    assert status == 200, body
    assert "x-ratelimit-limit-tokens" not in headers
    assert headers["x-ratelimit-remaining-requests"] == headers["x-ratelimit-limit-requests"] == "10000"
    assert float(headers["x-metrics-e2e-ms"]) >= 0
    assert "x-metrics-ttft-ms" not in headers
    return json.loads(body)["token_ids"]


@given(text=st.text(max_size=300), ratio=st.floats(1.0, 6.0))
def test_tokens_are_the_texts_bytes_in_order(text: str, ratio: float) -> None:
    raw = text.encode()
    tokens = tokens_of(raw, ratio)
    assert b"".join(bytes(token["token_bytes"]) for token in tokens) == raw
    assert len(tokens) == -(-len(raw) // ratio)
    for token in tokens:
        assert list(token) == ["token_id", "string_token", "token_bytes"]
        assert token["string_token"] == bytes(token["token_bytes"]).decode(errors="replace")
        assert 0 <= token["token_id"] < 200_000
    assert tokens == tokens_of(raw, ratio)


@pytest.mark.parametrize("text", ["Hello", "grüße 🎈 aus Köln", "x" * 100_000])
def test_a_text_has_as_many_tokens_as_a_prompt_of_it_is_billed_without_the_preamble(
    fast_url: str, text: str
) -> None:
    usage = whole_chat(fast_url, content=text, max_completion_tokens=1, reasoning_effort="none")["usage"]
    assert len(tokenized(fast_url, text)) == usage["prompt_tokens"] - 192


def test_tokenize_refuses_like_the_rest(mock_url: str) -> None:
    assert ask(mock_url, "/v1/tokenize-text", {"model": "grok-99", "text": "x"})[0] == 404
    assert ask(mock_url, "/v1/tokenize-text", {"model": "grok-4.3"})[0] == 422
    assert ask(mock_url, "/v1/tokenize-text", b"{")[0] == 400
    assert tokenized(mock_url, "") == []


def test_the_key_is_told_by_its_end_alone(mock_url: str) -> None:
    key = "xai-" + "s3cret" * 12 + "b14o"
    status, _, body = ask(mock_url, "/v1/api-key", method="GET", headers={"Authorization": f"Bearer {key}"})
    state = json.loads(body)
    assert status == 200
    assert list(state) == [
        "redacted_api_key", "user_id", "name", "create_time", "modify_time", "modified_by", "team_id", "acls",
        "api_key_id", "team_blocked", "api_key_blocked", "api_key_disabled",
    ]  # fmt: skip
    assert state["redacted_api_key"] == "xai-...b14o"
    assert b"s3cret" not in body
    assert ask(mock_url, "/v1/api-key", method="GET", headers={"X": "y"})[0] == 401


@given(key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=90))
def test_no_more_than_four_characters_of_any_key_are_told(key: str) -> None:
    state = key_json(key)
    told = state["redacted_api_key"].removeprefix("xai-...")
    assert told == ("****" if len(key) < 20 else key[-4:])
    assert state == key_json(key)
    assert state["api_key_id"] != key_json(key + "x")["api_key_id"]


def test_language_models_have_modalities_and_prices_and_no_context(mock_url: str) -> None:
    _, _, listed = ask(mock_url, "/v1/language-models", method="GET")
    _, _, plain = ask(mock_url, "/v1/models/grok-4.3", method="GET")
    page, model = json.loads(listed), json.loads(plain)
    assert list(page) == ["models"]
    [entry] = page["models"]
    assert (entry["input_modalities"], entry["output_modalities"]) == (["text"], ["text"])
    assert entry["fingerprint"].startswith("fp_")
    assert "context_length" not in entry
    prices = {name: value for name, value in model.items() if "price" in name or "threshold" in name}
    assert {name: entry[name] for name in prices} == prices
    answer = whole_chat(mock_url, max_completion_tokens=1, reasoning_effort="none")
    assert answer["system_fingerprint"] == entry["fingerprint"]
    _, _, one = ask(mock_url, "/v1/language-models/grok-4.3-latest", method="GET")
    assert json.loads(one) == entry


@pytest.mark.parametrize("kind", ["embedding-models", "image-generation-models", "video-generation-models"])
def test_kinds_that_are_not_served_are_empty_lists(mock_url: str, kind: str) -> None:
    status, _, body = ask(mock_url, f"/v1/{kind}", method="GET")
    assert (status, json.loads(body)) == (200, {"models": []})
    assert ask(mock_url, f"/v1/{kind}/any", method="GET")[0] == 404
    assert ask(mock_url, f"/v1/{kind}", method="GET", headers={"X": "y"})[0] == 401
