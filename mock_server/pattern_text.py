"""A text that a regular expression matches, built from the expression as Python's re reads it.

Right by construction, so never searched for: literals, sets, categories, repetitions, groups, alternatives,
and anchors at the two ends. What is beyond (look-around, back references, \\b, \\p{...}) is refused.
"""

import importlib
import re
import string
import warnings
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

_parser = importlib.import_module("re._parser")  # where re keeps it since Python 3.11; it has no public name
_CATEGORIES = {
    "CATEGORY_DIGIT": string.digits,
    "CATEGORY_NOT_DIGIT": string.ascii_lowercase,
    "CATEGORY_WORD": string.ascii_lowercase + string.digits,
    "CATEGORY_NOT_WORD": " -.",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_SPACE": string.ascii_lowercase,
}
_PRINTABLE = string.ascii_lowercase + string.digits + string.ascii_uppercase + " -_.,:/!#&"
_MORE = 3  # of an open repetition: at most so many beyond the least


class PatternError(ValueError):
    """The expression is not one, or has a part that is not built here."""


def pattern_text(pattern: str, rng: Random, take: Callable[[int], None]) -> str:
    """take: is told of every character, and may raise where there are too many. Raises PatternError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sets that a later Python may read otherwise
            parsed = list(_parser.parse(pattern))
    except (re.error, OverflowError) as error:
        raise PatternError(f"the pattern {pattern!r} can't be read ({error})") from None
    if parsed and _named(parsed[0]) in ("AT AT_BEGINNING", "AT AT_BEGINNING_STRING"):
        parsed = parsed[1:]
    if parsed and _named(parsed[-1]) in ("AT AT_END", "AT AT_END_STRING"):
        parsed = parsed[:-1]
    return "".join(_text(parsed, rng, take))


def _named(part: tuple[Any, Any]) -> str:
    return f"{part[0]} {part[1]}"


def _text(parts: Sequence[tuple[Any, Any]], rng: Random, take: Callable[[int], None]) -> list[str]:
    found: list[str] = []
    for kind, value in parts:
        name = str(kind)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            low, high, inner = value
            take(low)
            for _ in range(low + rng.randint(0, min(_MORE, int(high) - low))):
                found += _text(inner, rng, take)
        elif name == "SUBPATTERN":
            found += _text(value[-1], rng, take)
        elif name == "BRANCH":
            found += _text(rng.choice(value[1]), rng, take)
        else:
            take(1)
            found.append(_character(name, value, rng))
    return found


def _character(name: str, value: Any, rng: Random) -> str:
    if name == "LITERAL":
        return chr(value)
    if name == "NOT_LITERAL":
        return rng.choice([c for c in _PRINTABLE if c != chr(value)])
    if name == "ANY":
        return rng.choice(_PRINTABLE)
    if name == "IN":
        return _member(value, rng)
    raise PatternError(f"a pattern with {name.lower()} is not followed here")


def _member(items: Sequence[tuple[Any, Any]], rng: Random) -> str:
    """One of a set; of a negated one a printable character beside it."""
    members: list[str] = []
    negated = False
    for kind, value in items:
        name = str(kind)
        if name == "NEGATE":
            negated = True
        elif name == "LITERAL":
            members.append(chr(value))
        elif name == "RANGE":
            low, high = value
            members += [chr(code) for code in range(low, min(high, low + 127) + 1)]
        else:
            members += _CATEGORIES[str(value)]
    if negated:
        members = [c for c in _PRINTABLE if c not in members]
    if not members:
        raise PatternError("a pattern with a set that leaves no printable character")
    return rng.choice(members)
