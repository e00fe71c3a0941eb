"""The official client works against the mock as against xAI."""

from typing import Any, Literal, cast

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel, Field

USER: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "What is the weather in San Francisco?"}
]


class Place(BaseModel):
    city: str = Field(min_length=2, max_length=12)
    country: Literal["US", "FR"]


class Weather(BaseModel):
    """Arguments with most of what a schema can ask for."""

    place: Place
    days: int = Field(ge=1, le=7)
    detail: float = Field(gt=0, lt=0.5)
    unit: Literal["celsius", "fahrenheit"]
    tags: list[str] = Field(min_length=2, max_length=3)
    alerts: bool
    note: str | None


TOOLS = [openai.pydantic_function_tool(Weather, name="weather", description="Weather at a place")]


def test_streams_a_completion_with_its_usage(client: OpenAI) -> None:
    with client.chat.completions.create(
        model="grok-4.3",
        messages=USER,
        max_completion_tokens=20,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens == 20
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert len(text.split()) == 20
    thoughts = sum(1 for c in chunks if c.choices and getattr(c.choices[0].delta, "reasoning_content", None))
    assert thoughts == usage.completion_tokens_details.reasoning_tokens
    assert thoughts > 0
    assert usage.total_tokens == usage.prompt_tokens + 20 + thoughts
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"


def test_calls_a_tool_with_arguments_that_validate_then_answers_in_text(client: OpenAI) -> None:
    first = client.chat.completions.create(
        model="grok-4.3",
        messages=USER,
        tools=TOOLS,
        reasoning_effort="none",
    ).choices[0]
    assert first.finish_reason == "tool_calls"
    assert first.message.tool_calls is not None
    [call] = first.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "weather"
    Weather.model_validate_json(call.function.arguments, strict=True)
    again = client.chat.completions.create(
        model="grok-4.3",
        messages=[
            *USER,
            cast(ChatCompletionMessageParam, first.message),
            {"role": "tool", "tool_call_id": call.id, "content": "18 C"},
        ],
        tools=TOOLS,
        max_completion_tokens=5,
        reasoning_effort="none",
    ).choices[0]
    assert again.message.tool_calls is None
    assert again.message.content
    assert len(again.message.content.split()) == 5


def test_structured_output_satisfies_its_schema(client: OpenAI) -> None:
    parsed = client.chat.completions.parse(
        model="grok-4.3",
        messages=USER,
        response_format=Weather,
    ).choices[0]
    assert isinstance(parsed.message.parsed, Weather)
    assert parsed.finish_reason == "stop"


def test_lists_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["grok-4.3"]
    assert client.models.retrieve("grok-4.3-latest").id == "grok-4.3"


def refusal(error: type[openai.APIStatusError], client: OpenAI, **fields: Any) -> str:
    """The server's sentence; the client shows none of it, since xAI's `error` is a string."""
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{"model": "grok-4.3", "messages": USER, **fields})
    return caught.value.response.text


def test_errors_are_typed(client: OpenAI) -> None:
    assert "The model grok-99 does not exist" in refusal(openai.NotFoundError, client, model="grok-99")
    long = [{"role": "user", "content": "four" * 1_000_000}]
    assert (
        "This model's maximum prompt length is 1000000 but the request contains 1000192 tokens."
        in refusal(openai.BadRequestError, client, messages=long)
    )
    assert "Messages cannot be empty" in refusal(openai.BadRequestError, client, messages=[])
    assert "messages" in refusal(openai.UnprocessableEntityError, client, messages="hello")


def test_a_missing_key_is_an_authentication_error(mock_url: str) -> None:
    with OpenAI(base_url=f"{mock_url}/v1", api_key="x", max_retries=0) as anonymous:
        unsigned = {"extra_headers": {"Authorization": openai.Omit()}}
        assert "No credentials presented" in refusal(openai.AuthenticationError, anonymous, **unsigned)
