"""POST /v1/tokenize-text: the shape of tokens without a tokenizer, as many as a prompt of the text is billed.

The text's bytes in nearly equal pieces, with an id hashed from each; the hidden preamble is not among them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from zlib import crc32

import orjson

from mock_server.fields import field, json_object, required
from mock_server.refusals import unknown_model
from mock_server.tokens import token_count

if TYPE_CHECKING:
    from mock_server.admission import Served

_VOCABULARY = 200_000  # of ids; xAI's own is not public


def token_list(raw: bytes, models: "Mapping[str, Served]") -> tuple[str, bytes]:
    """The tier's id and the answer's body. Raises RefusalError."""
    asked = json_object(raw)
    text, name = required(asked, "text", str), required(asked, "model", str)
    field(asked, "user", str)
    served = models.get(name)
    if served is None:
        raise unknown_model(name)
    body = orjson.dumps({"token_ids": tokens_of(text.encode(), served.tier.bytes_per_token)})
    return served.tier.id, body


def tokens_of(text: bytes, bytes_per_token: float) -> list[dict[str, Any]]:
    """A piece that cuts a character shows it as U+FFFD, as byte-level tokenizers do."""
    count = min(len(text), token_count(len(text), bytes_per_token))
    edges = [len(text) * i // count for i in range(count)] if count else []
    pieces = [text[a:b] for a, b in zip(edges, [*edges[1:], len(text)], strict=True)] if count else []
    return [
        {
            "token_id": crc32(piece) % _VOCABULARY,
            "string_token": piece.decode(errors="replace"),
            "token_bytes": list(piece),
        }
        for piece in pieces
    ]
