"""PromptSet: prompts of the user's own, as they are sent; and the forms they come in.

    messages   JSONL: a list of messages a line, or {"messages": [...], "max_completion_tokens": 200}, or
               {"prompt": "..."}
    sharegpt   one JSON array of {"conversations": [{"from": "human"|"gpt"|"system", "value": "..."}]}: all up
               to the last human message; the length of the answer after it is asked for
    documents  a directory of UTF-8 text files, each one user message (prompt_files.py)

Content is text: parts of other kinds are refused. Request id is sent prompt id modulo their number.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from servebench.errors import UsageError

MAX_BYTES = 256 << 20  # they travel to every worker
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_SHAREGPT_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant",
                   "assistant": "assistant", "bing": "assistant", "system": "system"}  # fmt: skip
ERRORS_SHOWN = 20


class PromptSet(BaseModel):
    """messages[k]: a JSON array, compact; content_bytes[k]: UTF-8 bytes of its texts, which are billed;
    output_bytes[k]: of the answer to ask for (None: the class's), or output_tokens[k].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    messages: tuple[str, ...] = Field(min_length=1)
    content_bytes: tuple[int, ...]
    output_tokens: tuple[int | None, ...]
    output_bytes: tuple[int | None, ...]

    @model_validator(mode="after")
    def _even(self) -> "PromptSet":
        if (
            len(
                {len(self.messages), len(self.content_bytes), len(self.output_tokens), len(self.output_bytes)}
            )
            > 1
        ):
            raise ValueError("messages, content_bytes, output_tokens and output_bytes must be of one length")
        return self


@dataclass(frozen=True, slots=True)
class _Prompt:
    messages: list[dict[str, Any]]
    output_tokens: int | None = None
    output_bytes: int | None = None


def parse_prompts(text: str, *, name: str) -> PromptSet:
    """Prompts from the text of a file, its form told by its start. UsageError with the first 20 problems."""
    if text.lstrip().startswith("[") and _is_one_array(text):
        rows: Iterable[tuple[str, Any]] = _array(text, name)
        read = _sharegpt
    else:
        rows, read = _lines(text, name), _messages
    prompts, problems = [], []
    for place, raw in rows:
        try:
            prompt = read(raw)
            orjson.dumps(prompt.messages)
        except (ValueError, TypeError) as error:  # TypeError: half a surrogate, a number too large
            problems.append(f"{place}: {error}")
        else:
            prompts.append(prompt)
    if problems:
        more = len(problems) - ERRORS_SHOWN
        raise UsageError(*problems[:ERRORS_SHOWN], *([f"{name}: and {more} more"] if more > 0 else []))
    return _together(name, prompts)


def documents(texts: Sequence[str], *, name: str) -> PromptSet:
    """One user message a document, in the order given; empty ones are left out."""
    return _together(name, [_Prompt([{"role": "user", "content": text}]) for text in texts if text.strip()])


def _together(name: str, prompts: Sequence[_Prompt]) -> PromptSet:
    if not prompts:
        raise UsageError(f"{name}: holds no prompt")
    messages = tuple(orjson.dumps(prompt.messages).decode() for prompt in prompts)
    size = sum(map(len, messages))
    if size > MAX_BYTES:
        raise UsageError(
            f"{name}: {size / 2**20:,.0f} MiB of prompts, more than the {MAX_BYTES >> 20} that fit"
        )
    return PromptSet(
        name=name,
        messages=messages,
        content_bytes=tuple(sum(_text_bytes(m) for m in prompt.messages) for prompt in prompts),
        output_tokens=tuple(prompt.output_tokens for prompt in prompts),
        output_bytes=tuple(prompt.output_bytes for prompt in prompts),
    )


def _text_bytes(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    if isinstance(content, list):
        return sum(len(part["text"].encode()) for part in content)
    return len((content or "").encode())


def _is_one_array(text: str) -> bool:
    """A file that begins with [ is ShareGPT's, unless its first line is a whole list of messages."""
    first = next(line for line in text.split("\n") if line.strip())
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        return True
    return not row or (isinstance(row[0], dict) and "role" not in row[0])


def _array(text: str, name: str) -> Iterator[tuple[str, Any]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: is not JSON: {error}") from None
    for number, row in enumerate(rows):
        yield f"{name}, conversation {number}", row


def _lines(text: str, name: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON may hold U+2028
        if not line.strip():
            continue
        place = f"{name}, line {number}"
        try:
            yield place, json.loads(line)
        except (ValueError, RecursionError) as error:
            yield place, ValueError(f"not JSON: {error}")


def _messages(raw: Any) -> _Prompt:
    if isinstance(raw, ValueError):
        raise raw
    if isinstance(raw, list):
        raw = {"messages": raw}
    if not isinstance(raw, dict) or not ("messages" in raw or isinstance(raw.get("prompt"), str)):
        raise ValueError("must be a list of messages, or an object with messages or prompt")
    messages = raw.get("messages", [{"role": "user", "content": raw.get("prompt")}])
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages must be a list that is not empty")
    for k, message in enumerate(messages):
        _check_message(k, message)
    limit = raw.get("max_completion_tokens")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ValueError(f"max_completion_tokens must be a whole number >= 1, got {limit!r}")
    return _Prompt(messages, output_tokens=limit)


def _check_message(k: int, message: Any) -> None:
    if not isinstance(message, dict) or str(message.get("role")) not in _ROLES:
        raise ValueError(f"messages[{k}] must be an object with a role of {', '.join(sorted(_ROLES))}")
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            if (
                not isinstance(part, dict)
                or part.get("type") != "text"
                or not isinstance(part.get("text"), str)
            ):
                raise ValueError(f"messages[{k}].content has a part that is not text")
    elif not isinstance(content, str) and not (content is None and message["role"] == "assistant"):
        raise ValueError(f"messages[{k}].content must be text")


def _sharegpt(raw: Any) -> _Prompt:
    turns = raw.get("conversations") if isinstance(raw, dict) else None
    if not isinstance(turns, list):
        raise ValueError("must be an object with a list of conversations")
    messages = []
    for k, turn in enumerate(turns):
        role = _SHAREGPT_ROLES.get(str(turn.get("from"))) if isinstance(turn, dict) else None
        if role is None or not isinstance(turn.get("value"), str):
            raise ValueError(
                f"conversations[{k}] must have from ({', '.join(_SHAREGPT_ROLES)}) and a value of text"
            )
        messages.append({"role": role, "content": turn["value"]})
    asked = max((k for k, message in enumerate(messages) if message["role"] == "user"), default=-1)
    if asked < 0:
        raise ValueError("has no message of a human")
    answer = messages[asked + 1]["content"] if asked + 1 < len(messages) else None
    return _Prompt(messages[: asked + 1], output_bytes=len(answer.encode()) if answer else None)
