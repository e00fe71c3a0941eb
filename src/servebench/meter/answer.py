"""What a server's JSON says: the token-carrying parts of a delta, usage, errors. Pure readers of parsed JSON.

The dialect is Chat Completions as xAI, OpenAI, vLLM and SGLang speak it. Nothing here raises on odd input.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from servebench.meter.tool_arguments import argument_piece

MAX_MESSAGE: Final = 200
MAX_LABEL: Final = 40  # of a finish reason, a tier
_MOST_TOKENS: Final = 2**40
_MOST_TICKS: Final = 2**62  # a bill of half a billion dollars
_SECRET: Final = re.compile(
    r"(?i:bearer|basic)\s+[^\s\"',;]+"
    r"|\b(?i:xai|sk|pk|key|api)[-_][A-Za-z0-9_\-]{8,}"
    r"|\b[A-Za-z0-9_]{32,}\b"
)


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts; None = not said. completion excludes reasoning, whatever the dialect. ticks: 10^-10 USD.
    note: what contradicts itself, or "". server_tools: calls that the server made itself, by its own names.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    ticks: int | None = None
    note: str = ""
    server_tools: dict[str, int] | None = None


def read_usage(raw: dict[str, Any]) -> Usage:
    """The usage object of Chat Completions. Reasoning is beside completion_tokens at xAI, in it at OpenAI:
    total_tokens tells which.
    """
    prompt, cached = _count(raw, "prompt_tokens"), _count(raw.get("prompt_tokens_details"), "cached_tokens")
    completion = _count(raw, "completion_tokens")
    reasoning = _count(raw.get("completion_tokens_details"), "reasoning_tokens")
    total = _count(raw, "total_tokens")
    notes = []
    if prompt is not None and cached is not None and cached > prompt:
        notes.append(f"cached_tokens {cached} > prompt_tokens {prompt}")
    if prompt is not None and completion is not None and total is not None:
        plain = prompt + completion
        if total not in (plain, plain + (reasoning or 0)):
            notes.append(f"total_tokens {total} is not the sum of its parts")
    notes += [
        f"{key} is not a count"
        for key in ("prompt_tokens", "completion_tokens")
        if raw.get(key) is not None and _count(raw, key) is None
    ]
    if reasoning and completion is not None and prompt is not None and total == prompt + completion:
        completion = _visible(completion, reasoning, notes)
    ticks = _count(raw, "cost_in_usd_ticks", _MOST_TICKS)
    return Usage(prompt, cached, completion, reasoning, ticks, "; ".join(notes), _server_tools(raw))


def read_responses_usage(raw: dict[str, Any]) -> Usage:
    """The usage object of the responses API, whose output_tokens include reasoning, always."""
    prompt, cached = _count(raw, "input_tokens"), _count(raw.get("input_tokens_details"), "cached_tokens")
    output = _count(raw, "output_tokens")
    reasoning = _count(raw.get("output_tokens_details"), "reasoning_tokens")
    total = _count(raw, "total_tokens")
    notes = []
    if prompt is not None and cached is not None and cached > prompt:
        notes.append(f"cached_tokens {cached} > input_tokens {prompt}")
    if prompt is not None and output is not None and total not in (None, prompt + output):
        notes.append(f"total_tokens {total} is not the sum of its parts")
    if reasoning and output is not None:
        output = _visible(output, reasoning, notes)
    ticks = _count(raw, "cost_in_usd_ticks", _MOST_TICKS)
    return Usage(prompt, cached, output, reasoning, ticks, "; ".join(notes), _server_tools(raw))


def _visible(output: int, reasoning: int, notes: list[str]) -> int:
    """Output tokens that are no reasoning, where the count includes it."""
    if reasoning > output:
        notes.append(f"reasoning_tokens {reasoning} > the {output} output tokens that include them")
    return max(output - reasoning, 0)


def _server_tools(raw: dict[str, Any]) -> dict[str, int] | None:
    details = raw.get("server_side_tool_usage_details")
    found = {name: _count(details, name) for name in details} if isinstance(details, dict) else {}
    return {name[:64]: count for name, count in list(found.items())[:16] if count} or None


def _count(raw: object, key: str, most: int = _MOST_TOKENS) -> int | None:
    value = raw.get(key) if isinstance(raw, dict) else None
    return value if type(value) is int and 0 <= value <= most else None


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
