"""The problems of a scenario file, all at once, each with its place: `load.users: must be > 0, got -1`."""

import difflib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from servebench.errors import UsageError
from servebench.workload.lengths import DISTRIBUTIONS
from servebench.workload.shapes import SHAPES

Problem = tuple[str, str]  # place within its mapping ("" = the mapping itself), what is wrong

_DISTRIBUTION_FIELDS = frozenset({
    "input_tokens", "output_tokens", "tokens", "think_time_s", "tool_time_s", "cv", "turns", "calls_per_turn",
    "answer_tokens", "result_tokens", "message_tokens",
})  # fmt: skip
_BOUNDS = {"greater_than": ("gt", ">"), "greater_than_equal": ("ge", ">="),
           "less_than": ("lt", "<"), "less_than_equal": ("le", "<=")}  # fmt: skip
_KINDS = {
    "float": "a number", "int": "a whole number", "string": "a text", "tuple": "a list", "dict": "a mapping",
    "model": "a mapping", "finite": "a finite number",
}  # fmt: skip


class InconsistentError(ValueError):
    """Fields that are right one by one and wrong together."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{place}: {text}" if place else text for place, text in self.problems))


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, where YAML would keep the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        None, None, f"the key {key.value!r} stands there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(text: str, place: str) -> dict[str, Any]:
    """The mapping in a YAML text. UsageError with line and column where it is none."""
    try:
        raw = yaml.load(text, _StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UsageError(f"{place}{where}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{place}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{place}: must be a mapping with name, load and classes, got {_shown(raw)}")
    return raw


def validation_lines(error: ValidationError, keys: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """One line a problem. keys: the known keys by the field that holds them ("" = top level), for hints."""
    for detail in error.errors():
        loc = detail["loc"]
        if loc and loc[-1] in ("str", "dict[str,any]"):
            continue  # a tool that is neither: the check of tools says it in one line
        if detail["type"] == "too_short" and detail["input"]:
            continue  # counts the right entries of a list that has wrong ones
        cause = detail.get("ctx", {}).get("error")
        problems = (
            cause.problems if isinstance(cause, InconsistentError) else (("", _sentence(detail, keys)),)
        )
        for sub, text in problems:
            yield problem_line(_place(loc), sub, text)


def problem_line(place: str, sub: str, text: str) -> str:
    joined = ".".join(part for part in (place, sub) if part)
    return f"{joined}: {text}" if joined else text


def _place(loc: tuple[int | str, ...]) -> str:
    place = ""
    for k, part in enumerate(loc):
        if isinstance(part, int):
            place += f"[{part}]"
        elif not _is_tag(loc, k):
            place += f".{part}" if place else part
    return place


def _is_tag(loc: tuple[int | str, ...], k: int) -> bool:
    """Whether this part names the kind of a distribution or shape, which the file has no key of."""
    if not k:
        return False
    before = loc[k - 1]
    return (loc[k] in DISTRIBUTIONS and before in _DISTRIBUTION_FIELDS) or (
        loc[k] in SHAPES and before == "shape"
    )


def _sentence(detail: ErrorDetails, keys: Mapping[str, Sequence[str]]) -> str:
    kind, ctx, got = detail["type"], detail.get("ctx", {}), _shown(detail["input"])
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return _unknown_key(detail["loc"], keys)
    if kind in _BOUNDS:
        bound, sign = _BOUNDS[kind]
        return f"must be {sign} {ctx[bound]:g}, got {got}"
    if kind == "literal_error":
        return f"must be one of {ctx['expected']}, got {got}"
    if kind.startswith("union_tag") and detail["loc"][-1] == "shape":
        return f"must be a mapping with kind ({', '.join(SHAPES)}), got {got}"
    if kind == "union_tag_invalid":
        near = difflib.get_close_matches(str(ctx["tag"]), DISTRIBUTIONS, 1)
        return f"dist must be one of {', '.join(DISTRIBUTIONS)}, got {ctx['tag']!r}{_hint(near)}"
    if kind in ("union_tag_not_found", "model_attributes_type"):
        return f"must be a number or a mapping with dist ({', '.join(DISTRIBUTIONS)}), got {got}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    if kind == "string_pattern_mismatch":
        return f"must match {ctx['pattern']}, got {got}"
    for prefix, name in _KINDS.items():
        if kind.startswith(prefix) and kind.endswith(("_type", "_parsing", "_from_float", "_number")):
            return f"must be {name}, got {got}"
    return f"{detail['msg'].removeprefix('Value error, ')}" + (
        "" if kind == "value_error" else f", got {got}"
    )


def _unknown_key(loc: tuple[int | str, ...], keys: Mapping[str, Sequence[str]]) -> str:
    parents = [part for part in loc[:-1] if isinstance(part, str)]
    known = keys.get(parents[-1] if parents else "", ())
    near = difflib.get_close_matches(str(loc[-1]), known, 1)
    return "unknown key" + (_hint(near) or f" (known: {', '.join(known)})")


def _hint(near: Sequence[str]) -> str:
    return f" (did you mean {near[0]}?)" if near else ""


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
