"""Admission: a body becomes an Admitted request (counted, hashed, its answer decided) or a RefusalError.

No tokenizer: tokens come from bytes, see choices.py.
"""

from dataclasses import dataclass

from mock_server.answer import Answer, decide, request_digest
from mock_server.chat_request import ChatRequest, parse_chat
from mock_server.model import Model
from mock_server.refusals import invalid_argument, prompt_too_long, unknown_model
from mock_server.tokens import token_count
from servebench.engine.kv_cache import prompt_block_keys


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may be served: what it asks, what it will get, and what the engine must know of it."""

    chat: ChatRequest
    model: Model
    answer: Answer
    prompt_tokens: int
    block_keys: tuple[int, ...]


def admit(raw: bytes, models: "dict[str, Model]", *, seed: int) -> Admitted:
    """Parses, checks and hashes a body. Pure; may run in a thread. Raises RefusalError."""
    chat = parse_chat(raw)
    model = models.get(chat.model)
    if model is None:
        raise unknown_model(chat.model)
    tier = model.tier
    if chat.unsupported and any(median > 0 for median in tier.reasoning_tokens.values()):
        raise invalid_argument(f"Argument not supported on this model: {chat.unsupported[0]}")
    text = b"".join([chat.tools_json, *[content.encode() for content in chat.contents]])
    prompt_tokens = tier.preamble_tokens + token_count(len(text), tier.bytes_per_token)
    room = min(tier.context_length_tokens, model.kv_pool_tokens) - prompt_tokens
    if prompt_tokens > tier.context_length_tokens or room < 1:
        raise prompt_too_long(min(tier.context_length_tokens, model.kv_pool_tokens - 1), prompt_tokens)
    return Admitted(
        chat=chat,
        model=model,
        answer=decide(chat, tier, request_digest(chat, text, seed=seed), room_tokens=room),
        prompt_tokens=prompt_tokens,
        block_keys=prompt_block_keys(
            text,
            preamble_tokens=tier.preamble_tokens,
            bytes_per_token=tier.bytes_per_token,
            block_tokens=tier.serving.block_tokens,
        ),
    )
