"""Where requests go, and which key goes with them.

XAI_API_KEY goes to https://*.x.ai only; every other target gets SERVEBENCH_API_KEY or a fixed dummy, so
that a real key never reaches a mock, a proxy or a typing error.
"""

import http.client
import json
import os
import socket
import ssl
from typing import Any
from urllib.parse import urljoin, urlsplit

from servebench.errors import OperationError, UsageError
from servebench.meter.call import Target
from servebench.meter.tls import client_context

XAI_URL = "https://api.x.ai"
DUMMY_KEY = "servebench"
_REDIRECTS = (301, 302, 303, 307, 308)
_KEY_FLAGS = ("api_key_blocked", "api_key_disabled", "team_blocked")


def normalise_url(url: str) -> str:
    """scheme://host[:port][/prefix] without a trailing slash or /v1. Raises UsageError."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"target {url!r} is not a URL: give http://HOST:PORT, https://HOST, mock or xai")
    try:
        port = parts.port
    except ValueError:
        raise UsageError(f"target {url!r} has a bad port: it must be 1 to 65535") from None
    if parts.username or parts.password:
        raise UsageError("a target URL must not carry a user or password: set SERVEBENCH_API_KEY instead")
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"


def resolved(target: str) -> str:
    """The URL of xai or of a URL as the user wrote it. Raises UsageError."""
    return XAI_URL if target == "xai" else normalise_url(target)


def is_xai(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" and (host == "x.ai" or host.endswith(".x.ai"))


def key_name(url: str) -> str:
    """The environment variable that the target's key comes from."""
    return "XAI_API_KEY" if is_xai(url) else "SERVEBENCH_API_KEY"


def api_key(url: str) -> str:
    """The key for this target, from the environment. Raises UsageError for xAI without XAI_API_KEY."""
    if is_xai(url):
        key = os.environ.get("XAI_API_KEY", "").strip()
        if not key:
            raise UsageError("no key for the xAI API: set XAI_API_KEY in the environment")
    else:
        key = os.environ.get("SERVEBENCH_API_KEY", "").strip() or DUMMY_KEY
    if not key.isascii() or any(c.isspace() for c in key):
        raise UsageError(
            "the API key holds blanks or characters outside ASCII: check the environment variable"
        )
    return key


def check_target(
    url: str, model: str, *, ca_file: str | None = None, timeout_s: float = 5.0
) -> dict[str, Any] | None:
    """Ask GET /v1/models, which costs nothing: is the target up, does it take the key, has it the model?

    Gives the model's entry; None where there is no list. Raises OperationError (down) or UsageError (key
    refused, model not listed, CA file unreadable).
    """
    status, body = _get(url, "/v1/models", ca_file=ca_file, timeout_s=timeout_s)
    if status in _REDIRECTS:
        where = body.decode("latin-1")
        raise UsageError(f"target {url} redirects to {where}, which no request follows: give that host")
    if status in (401, 403) or (status == 400 and b"API key" in body):  # xAI: a bad key is a 400
        raise UsageError(
            f"target {url} refused the key (status {status}): check the environment variable {key_name(url)}"
        )
    return _entry(url, model, body) if status == 200 else None


def check_key(url: str, *, ca_file: str | None = None, timeout_s: float = 5.0) -> None:
    """Ask GET /v1/api-key, where there is one. Raises UsageError for a key that is blocked or disabled."""
    status, body = _get(url, "/v1/api-key", ca_file=ca_file, timeout_s=timeout_s)
    if status != 200:
        return
    try:
        state = json.loads(body)
    except ValueError:
        return
    wrong = [name for name in _KEY_FLAGS if isinstance(state, dict) and state.get(name) is True]
    if wrong:
        said = " and ".join(name.replace("_", " ") for name in wrong)
        raise UsageError(f"target {url}: the key of {key_name(url)} can't be used: {said}")


def time_scale(url: str, *, ca_file: str | None = None, timeout_s: float = 5.0) -> float | None:
    """Engine seconds per real second of a mock, from its /health; None for any other server.

    Raises OperationError where the target is down.
    """
    status, body = _get(url, "/health", ca_file=ca_file, timeout_s=timeout_s)
    if status != 200:
        return None
    try:
        state = json.loads(body)
    except ValueError:
        return None
    scale = state.get("time_scale") if isinstance(state, dict) else None
    return float(scale) if isinstance(scale, int | float) and not isinstance(scale, bool) else None


def _get(url: str, path: str, *, ca_file: str | None, timeout_s: float) -> tuple[int, bytes]:
    """Status and body; of a redirect where it leads, instead of its body."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = client_context(Target.parse(url, ca_file=ca_file))
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=timeout_s, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request("GET", f"{parts.path}{path}", headers={"Authorization": f"Bearer {api_key(url)}"})
        response = connection.getresponse()
        if response.status in _REDIRECTS:
            leads_to = urljoin(url, response.headers.get("location", ""))[:200]
            return response.status, leads_to.encode("latin-1", "replace")
        return response.status, response.read(4_000_000)
    except ssl.SSLError as error:
        hint = "" if ca_file else "; --ca-file names the authority of a server of your own"
        raise OperationError(f"target {url}: TLS failed: {error.reason or error}{hint}") from None
    except socket.gaierror:
        raise OperationError(f"target {url}: no such host {parts.hostname!r}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = (
            error.strerror
            if isinstance(error, OSError) and error.strerror
            else str(error) or type(error).__name__
        )
        raise OperationError(f"target {url} does not answer ({reason}): is it running?") from None
    finally:
        connection.close()


def _entry(url: str, model: str, body: bytes) -> dict[str, Any] | None:
    try:
        rows = json.loads(body)["data"]
        names = [(row, {row["id"], *row.get("aliases", ())}) for row in rows]
    except (ValueError, KeyError, TypeError):
        return None  # not the OpenAI list: the first request will tell
    for row, known in names:
        if model in known:
            found: dict[str, Any] = row
            return found
    if names:
        listed = sorted(name for _, known in names for name in known)
        raise UsageError(f"target {url} does not serve model {model!r}: it lists {', '.join(listed)}")
    return None
