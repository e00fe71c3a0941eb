"""Admission: a body becomes an Admitted request (counted, hashed, its answer decided) or a RefusalError.

No tokenizer: tokens come from bytes, see choices.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from mock_server.answer import Answer, decide, request_digest
from mock_server.chat_request import ChatRequest, parse_chat
from mock_server.refusals import (
    RefusalError,
    as_response_refusal,
    invalid_argument,
    model_not_found,
    prompt_too_long,
    unknown_model,
)
from mock_server.response_request import ResponseRequest, Turn, parse_response
from mock_server.tokens import token_count
from servebench.catalog.tiers import Tier
from servebench.engine.kv_cache import prompt_block_keys

_KEPT_TEXT_BYTES = 4096  # of a prompt so short its text costs less than a request without it


class Served(Protocol):
    """What admission must know of a model: the tier, and how much KV memory a replica of it has."""

    @property
    def tier(self) -> Tier: ...
    @property
    def kv_pool_tokens(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ServedTier:
    """Served as a plain value, for another process."""

    tier: Tier
    kv_pool_tokens: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may be served: what it asks, what it will get, and what the engine must know of it.

    The text of a long prompt is no longer in it: only the keys of its blocks stay.
    """

    chat: ChatRequest
    tier_id: str
    answers: tuple[Answer, ...]  # one per choice
    prompt_tokens: int
    block_keys: tuple[int, ...]

    @property
    def answer(self) -> Answer:
        """Of the first choice."""
        return self.answers[0]


@dataclass(frozen=True, slots=True)
class AdmittedResponse:
    admitted: Admitted
    request: ResponseRequest


class HistoryNeededError(Exception):
    """The request continues a response: admit it again with the turns up to that one."""

    def __init__(self, previous_id: str) -> None:
        super().__init__(previous_id)
        self.previous_id = previous_id


def admit(raw: bytes, models: Mapping[str, Served], *, seed: int) -> Admitted:
    """Parses, checks and hashes a body of chat completions. Pure; may run anywhere. Raises RefusalError."""
    chat = parse_chat(raw)
    served = models.get(chat.model)
    if served is None:
        raise unknown_model(chat.model)
    return admit_parsed(chat, served, seed=seed)


def admit_response(
    raw: bytes, history: Sequence[Turn] | None, models: Mapping[str, Served], *, seed: int
) -> AdmittedResponse:
    """Of a body of responses, with what it continues. Raises RefusalError, HistoryNeededError."""
    try:
        request = parse_response(raw, history or ())
    except RefusalError as refusal:
        raise as_response_refusal(refusal) from None
    if request.previous_id is not None and history is None:
        raise HistoryNeededError(request.previous_id)
    served = models.get(request.chat.model)
    if served is None:
        raise model_not_found(request.chat.model)
    admitted = admit_parsed(request.chat, served, seed=seed)
    return AdmittedResponse(admitted, replace(request, chat=admitted.chat))


def admit_parsed(chat: ChatRequest, served: Served, *, seed: int) -> Admitted:
    """Raises RefusalError."""
    tier = served.tier
    refuse_unsupported(chat, tier)
    text = b"".join([chat.tools_json, *[content.encode() for content in chat.contents]])
    prompt_tokens = tier.preamble_tokens + token_count(len(text), tier.bytes_per_token)
    limit_tokens = min(tier.context_length_tokens, served.kv_pool_tokens - 1)
    if prompt_tokens > limit_tokens:
        raise prompt_too_long(limit_tokens, prompt_tokens)
    # the longest prompt leaves no room, and still has an answer of one token
    room = max(1, min(tier.context_length_tokens, served.kv_pool_tokens) - prompt_tokens)
    digest = request_digest(chat, text, seed=seed)
    return Admitted(
        chat=chat if len(text) < _KEPT_TEXT_BYTES else chat._replace(contents=(), tools_json=b""),
        tier_id=tier.id,
        answers=tuple(decide(chat, tier, digest, room_tokens=room, choice=i) for i in range(chat.choices)),
        prompt_tokens=prompt_tokens,
        block_keys=prompt_block_keys(
            text,
            preamble_tokens=tier.preamble_tokens,
            bytes_per_token=tier.bytes_per_token,
            block_tokens=tier.serving.block_tokens,
        ),
    )


def refuse_unsupported(chat: ChatRequest, tier: Tier) -> None:
    """Penalties on a model that reasons, and stop on a request that does. Raises RefusalError."""
    reasoning_tier = any(median > 0 for median in tier.reasoning_tokens.values())
    if chat.penalties and reasoning_tier:
        raise invalid_argument(f"Argument not supported on this model: {chat.penalties[0]}")
    effort = chat.reasoning_effort or tier.default_reasoning_effort
    if chat.stop and tier.reasoning_tokens.get(effort, 0) > 0:
        raise invalid_argument("Argument not supported on this model: stop")
