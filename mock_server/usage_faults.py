"""Events and whole bodies without usage, with wrong counts, without a finish reason or [DONE]."""

from typing import Any

import orjson

from mock_server.fault_rules import Omission, WrongUsage

_PREFIX = b"data: "
_DONE = b"data: [DONE]"
_FINAL_TYPES = frozenset({"response.completed", "response.incomplete"})
_COUNTS = ("completion_tokens", "output_tokens")


def doctored(rule: Omission | WrongUsage, data: bytes, *, whole: bool) -> bytes:
    """The event (or whole body) after the rule: itself where nothing is to change, b"" to drop it."""
    done = data.startswith(_DONE)
    if rule.kind == "no_done":
        return b"" if done else data
    if done or not _may_concern(rule, data):
        return data
    before, prefix, text = (b"", b"", data) if whole else data.rstrip(b"\n").partition(_PREFIX)
    event = orjson.loads(text)
    changed = _without_finish(event, whole) if rule.kind == "no_finish" else _counted(rule, event)
    if changed is None:
        return b""
    if not changed:
        return data
    return before + prefix + orjson.dumps(event) + (b"" if whole else b"\n\n")


def _may_concern(rule: Omission | WrongUsage, data: bytes) -> bool:
    """Without parsing what is plainly another event."""
    if rule.kind == "no_finish":
        return b'"finish_reason"' in data or b'"response.completed"' in data or b'"status"' in data
    return b'"usage"' in data


def _without_finish(event: dict[str, Any], whole: bool) -> bool | None:
    """True: changed in place; False: nothing to change; None: drop it."""
    if event.get("type") in _FINAL_TYPES:
        return None
    choices = [choice for choice in event.get("choices", ()) if "finish_reason" in choice]
    for choice in choices:
        del choice["finish_reason"]
    if choices and not whole:
        return None
    if whole and event.get("object") == "response":
        event.pop("status", None)
        return True
    return bool(choices)


def _counted(rule: Omission | WrongUsage, event: dict[str, Any]) -> bool | None:
    owner = event.get("response", event)
    usage = owner.get("usage") if isinstance(owner, dict) else None
    if not isinstance(usage, dict):
        return False
    if isinstance(rule, Omission):
        del owner["usage"]
        return None if event.get("choices") == [] else True
    for name in _COUNTS:
        if name in usage:
            wrong = round(usage[name] * rule.factor)
            if wrong == usage[name]:
                wrong += 1
            usage["total_tokens"] = usage["total_tokens"] + wrong - usage[name]
            usage[name] = wrong
    return True
