"""Usage: the tokens and the money that a server says an answer took. Pure readers of parsed JSON.

The dialects are Chat Completions as xAI, OpenAI, vLLM and SGLang speak it, and the responses API. Nothing
here raises on odd input.
"""

from dataclasses import dataclass
from typing import Any, Final

_MOST_TOKENS: Final = 2**40
_MOST_TICKS: Final = 2**62  # a bill of half a billion dollars


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

    def facts(self, visible_chunks: int) -> dict[str, Any]:
        """The record's token fields."""
        note = self.note
        if self.completion_tokens is not None and visible_chunks > self.completion_tokens:
            over = f"{visible_chunks} visible chunks > completion_tokens {self.completion_tokens}"
            note = f"{note}; {over}" if note else over
        return {
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "billed_ticks": self.ticks,
            "usage_source": "usage",
            "usage_note": note,
            "server_tools": self.server_tools,
        }


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
