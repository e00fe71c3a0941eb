"""Answer: what the mock will say, decided whole before the first token, from the request's digest alone.

The same request to a server with the same seed gives the same tokens, streamed or not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import log
from random import Random
from typing import Any, NamedTuple

import orjson

from mock_server.chat_request import ChatRequest
from mock_server.choices import SECOND_CALL_SHARE
from mock_server.refusals import invalid_argument
from mock_server.schema_merge import SchemaError
from mock_server.schema_value import schema_value
from mock_server.tokens import Text, Words, cut_at_stop, lognormal_tokens, pieces_of, token_count
from mock_server.tool_fields import Tool
from servebench.catalog.tiers import Tier


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: str  # JSON text


class Answer(NamedTuple):
    """reasoning_tokens first, then visible_tokens: of `text`, or of the tool calls, which arrive whole."""

    reasoning_tokens: int
    visible_tokens: int
    finish_reason: str
    reasoning: Words
    text: Text
    tool_calls: tuple[ToolCall, ...]

    @property
    def total_tokens(self) -> int:
        return self.reasoning_tokens + self.visible_tokens


def request_digest(chat: ChatRequest, prompt: bytes, *, seed: int) -> bytes:
    """32 bytes from all that shapes the answer: prompt, settings, the request's seed and the server's."""
    settings = (
        chat.model, chat.max_visible_tokens, chat.reasoning_effort, chat.tool_choice,
        chat.parallel_tool_calls, chat.schema, chat.seed, seed,
    )  # fmt: skip
    digest = blake2b(orjson.dumps(settings), digest_size=32)
    digest.update(prompt)
    return digest.digest()


def decide(chat: ChatRequest, tier: Tier, digest: bytes, *, room_tokens: int, choice: int = 0) -> Answer:
    """One choice's answer; the first is the same however many are asked for.

    room_tokens: what the context leaves, >= 1. Raises RefusalError for an unknown effort.
    """
    if choice:
        digest = blake2b(digest + choice.to_bytes(4, "big"), digest_size=32).digest()
    uniforms = [(int.from_bytes(digest[i : i + 6], "big") + 0.5) / 2**48 for i in (0, 6, 12)]
    offset = int.from_bytes(digest[18:20], "big")
    reasoning = min(_reasoning_tokens(chat, tier, uniforms[0]), room_tokens - 1)
    room = room_tokens - reasoning
    thoughts = Words(offset)
    if _calls_a_tool(chat):
        calls = _tool_calls(chat, Random(digest), twice=uniforms[2] < SECOND_CALL_SHARE)
        size = sum(len(call.name) + len(call.arguments.encode()) for call in calls)
        tokens = min(room, token_count(size, tier.bytes_per_token))
        return Answer(reasoning, tokens, "tool_calls", thoughts, Words(0), calls)
    limit = min(room, chat.max_visible_tokens or tier.default_max_output_tokens)
    if chat.schema is not None:
        document = _satisfying(chat.schema, Random(digest), "response_format")
        pieces = pieces_of(document, tier.bytes_per_token)
        tokens = min(limit, len(pieces.pieces))
        finish = "stop" if tokens == len(pieces.pieces) else "length"
        return _stopped(chat, Answer(reasoning, tokens, finish, thoughts, pieces, ()))
    wanted = limit
    if chat.max_visible_tokens is None:
        wanted = lognormal_tokens(uniforms[1], mu=tier.output_tokens_mu, sigma=tier.output_tokens_sigma)
    tokens = min(wanted, limit)
    cut = chat.max_visible_tokens is not None or tokens < wanted
    text = Words(offset + 2048)
    return _stopped(chat, Answer(reasoning, tokens, "length" if cut else "stop", thoughts, text, ()))


def _stopped(chat: ChatRequest, answer: Answer) -> Answer:
    """The answer up to the first stop sequence, whose tokens are generated and not said."""
    cut = cut_at_stop(answer.text, answer.visible_tokens, chat.stop) if chat.stop else None
    if cut is None:
        return answer
    return answer._replace(text=cut, visible_tokens=len(cut.pieces), finish_reason="stop")


def _reasoning_tokens(chat: ChatRequest, tier: Tier, uniform: float) -> int:
    effort = chat.reasoning_effort or tier.default_reasoning_effort
    median = tier.reasoning_tokens.get(effort)
    if median is None:
        known = ", ".join(tier.reasoning_tokens)
        raise invalid_argument(f"reasoning_effort: {effort} is not one of {known} on {tier.id}.")
    return lognormal_tokens(uniform, mu=log(median), sigma=tier.reasoning_tokens_sigma) if median > 0 else 0


def _calls_a_tool(chat: ChatRequest) -> bool:
    """With auto the model answers in text once it has a tool's result; required and a named tool mean it."""
    if not chat.tools or chat.tool_choice == "none":
        return False
    return chat.tool_choice != "auto" or chat.last_role == "user"


def _tool_calls(chat: ChatRequest, rng: Random, *, twice: bool) -> tuple[ToolCall, ...]:
    if chat.tool_named:
        chosen: list[Tool] = [tool for tool in chat.tools if tool.name == chat.tool_choice][:1]
    else:
        count = 2 if twice and chat.parallel_tool_calls and len(chat.tools) > 1 else 1
        chosen = rng.sample(chat.tools, count)
    return tuple(
        ToolCall(
            id=f"call_{rng.randrange(10**8):08d}",
            name=tool.name,
            arguments=_satisfying(tool.parameters, rng, f"tool {tool.name}"),
        )
        for tool in chosen
    )


def _satisfying(schema: Mapping[str, Any], rng: Random, place: str) -> str:
    """JSON text that satisfies the schema. Raises RefusalError where none can be made."""
    try:
        return orjson.dumps(schema_value(schema, rng)).decode()
    except (SchemaError, orjson.JSONEncodeError) as error:
        raise invalid_argument(f"{place}: the JSON schema can't be satisfied: {error}.") from None
