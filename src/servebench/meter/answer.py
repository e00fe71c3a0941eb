"""What a server's JSON says: the token-carrying parts of a delta, and errors. Pure readers of parsed JSON.

The dialect is Chat Completions as xAI, OpenAI, vLLM and SGLang speak it. Nothing here raises on odd input.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from servebench.meter.tool_arguments import argument_piece

MAX_MESSAGE: Final = 200
MAX_LABEL: Final = 40  # of a finish reason, a tier
_SECRET: Final = re.compile(
    r"(?i:bearer|basic)\s+[^\s\"',;]+"
    r"|\b(?i:xai|sk|pk|key|api)[-_][A-Za-z0-9_\-]{8,}"
    r"|\b[A-Za-z0-9_]{32,}\b"
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What one chunk (or whole message) carries. plain: nothing but one text field, named by `field`."""

    visible: bool = False
    reasoning: bool = False
    finish_reason: str | None = None
    tool_calls: frozenset[object] = frozenset()
    arguments: tuple[tuple[object, str], ...] = ()  # by tool call
    field: str = ""
    plain: bool = False


_REASONING: Final = frozenset({"reasoning_content", "reasoning"})
_TEXT: Final = frozenset({"content", "text", "refusal"})
_CALLS: Final = frozenset({"tool_calls", "function_call", "audio"})
_INERT: Final = frozenset(
    {"role", "index", "logprobs", "finish_reason", "stop_reason", "token_ids", "delta", "message"}
)


def read_choices(choices: list[Any], key: str) -> Parts | None:
    """choices of a chunk (key "delta") or a whole answer ("message"); None when they are not the dialect."""
    carried: list[str] = []
    finish: str | None = None
    tools: dict[object, str] = {}
    for choice in choices:
        delta = (choice.get(key) or {}) if isinstance(choice, dict) else None
        if not isinstance(delta, dict):
            return None
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            finish = reason[:MAX_LABEL]
        carried += [
            name for holder in (choice, delta) for name in holder if holder[name] and name not in _INERT
        ]
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            for place, call in enumerate(calls):
                which = _tool_key(choice.get("index"), place, call)
                tools[which] = tools.get(which, "") + argument_piece(call)
    names = set(carried)
    plain = len(choices) == 1 and finish is None and len(carried) == 1 and bool(names & (_TEXT | _REASONING))
    return Parts(
        visible=bool(names & (_TEXT | _CALLS)),
        reasoning=bool(names & _REASONING),
        finish_reason=finish,
        tool_calls=frozenset(tools),
        arguments=tuple(tools.items()),
        field=carried[0] if carried else "",
        plain=plain,
    )


def _tool_key(choice: object, place: int, call: object) -> object:
    """Which tool call a delta belongs to: its index, else its place."""
    index = call.get("index") if isinstance(call, dict) else None
    return (choice if isinstance(choice, int) else 0, index if isinstance(index, int) else place)


def error_text(body: object, secrets: tuple[str, ...] = ()) -> str:
    """The sentence in an error: xAI's {"code", "error": text}, OpenAI's {"error": {"message"}}, or plain
    text.
    """
    text: object = body
    if isinstance(body, dict):
        text = body.get("error") or body.get("message") or body.get("detail") or body
        if isinstance(text, dict):
            text = text.get("message") or text.get("code") or text.get("type") or text
    try:
        return redact(text if isinstance(text, str) else str(text), secrets)
    except RecursionError:
        return "an error that is nested too deeply to be shown"


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """One line of at most 200 characters without anything that looks like a key, nor any of `secrets`."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    line = _SECRET.sub("[redacted]", " ".join(text.split()))
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 1] + "…"
