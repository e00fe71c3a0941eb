"""Where requests go, and which key goes with them.

XAI_API_KEY goes to https://*.x.ai only; every other target gets SERVEBENCH_API_KEY or a fixed dummy, so
that a real key never reaches a mock, a proxy or a typing error.
"""

import http.client
import os
import socket
import ssl
from urllib.parse import urlsplit

from servebench.errors import OperationError, UsageError

XAI_URL = "https://api.x.ai"
DUMMY_KEY = "servebench"


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


def check_target(url: str, model: str, *, timeout_s: float = 5.0) -> None:
    """Ask GET /v1/models, which costs nothing: is the target up, does it take the key, has it the model?

    Raises OperationError (down) or UsageError (key refused, model not listed); no list: it passes.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    factory = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = factory(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request(
            "GET", f"{parts.path}/v1/models", headers={"Authorization": f"Bearer {api_key(url)}"}
        )
        response = connection.getresponse()
        body = response.read(1_000_000)
    except ssl.SSLError as error:
        raise OperationError(f"target {url}: TLS failed: {error.reason or error}") from None
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
    if response.status in (401, 403):
        raise UsageError(
            f"target {url} refused the key (status {response.status}): check the environment variable"
        )
    if response.status == 200:
        _check_model(url, model, body)


def _check_model(url: str, model: str, body: bytes) -> None:
    import json

    try:
        rows = json.loads(body)["data"]
        known = {row["id"] for row in rows} | {alias for row in rows for alias in row.get("aliases", ())}
    except (ValueError, KeyError, TypeError):
        return  # not the OpenAI list: the first request will tell
    if known and model not in known:
        raise UsageError(f"target {url} does not serve model {model!r}: it lists {', '.join(sorted(known))}")
