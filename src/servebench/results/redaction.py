"""Keep secrets out of what is written: command lines and manifests lose anything that looks like a key.

A net below the rule that keys come from the environment, not a licence to pass them around.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

REDACTED = "[redacted]"

# `max-tokens` and `prefix_key` are no secrets
_SECRET_NAME = re.compile(
    r"^key$|(^|[-_])(api[-_]?key|((access|auth|bearer|api)[-_])token|secret([-_]key)?|password|passwd|authorization|credentials?)$"
    r"|^token$",
    re.I,
)
_SECRET_TEXT = (
    # the shapes that providers give their keys
    re.compile(r"\b(?:xai-|gsk_|hf_|ghp_|gho_|glpat-|AIza)[A-Za-z0-9_]{16,}"),
    re.compile(r"\bsk-[A-Za-z0-9_-]{16,}"),
    re.compile(r"(?<=Bearer )(?!\[)\S+", re.I),
    re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"),  # user:password in a URL
    re.compile(r"(?<=[?&])(?:api[-_]?key|key|token|access_token)=[^&\s#]+", re.I),
    re.compile(r"\b[A-Z][A-Z0-9_]*(?:API_KEY|TOKEN|SECRET|PASSWORD)=\S+"),
)


def redact_text(text: str, secrets: Iterable[str] = ()) -> str:
    """text without its key-like parts, and without any of `secrets` (exact values, 4 characters or more)."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, REDACTED)
    for pattern in _SECRET_TEXT:
        text = pattern.sub(REDACTED, text)
    return text


def redact_command(arguments: Sequence[str], secrets: Iterable[str] = ()) -> list[str]:
    """A command line to write down: the values of `--api-key` and its kin are gone, in both spellings."""
    known = tuple(secrets)
    safe: list[str] = []
    hide_next = False
    for argument in arguments:
        flag, equals, _ = argument.partition("=")
        is_flag = flag.startswith("-")
        if hide_next and not is_flag:
            safe.append(REDACTED)
            hide_next = False
            continue
        secret_flag = is_flag and bool(_SECRET_NAME.search(flag.lstrip("-")))
        safe.append(f"{flag}={REDACTED}" if secret_flag and equals else redact_text(argument, known))
        hide_next = secret_flag and not equals
    return safe


def redact_tree(value: Any, secrets: Iterable[str] = ()) -> Any:
    """A JSON-able value with every string redacted, and whole values under names such as "api_key"."""
    known = tuple(secrets)
    if isinstance(value, str):
        return redact_text(value, known)
    if isinstance(value, Mapping):
        return {
            key: REDACTED
            if isinstance(item, str) and item and _SECRET_NAME.search(str(key))
            else redact_tree(item, known)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_tree(item, known) for item in value]
    return value
