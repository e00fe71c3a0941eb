"""RequestBytes: the bytes of a request, and which parts of them are secret. Pure.

The headers are the same for all calls; the API key is among them.
"""

from collections.abc import Mapping
from typing import Final

from servebench.errors import UsageError
from servebench.meter.call import Call, Target

_SECRET_HEADERS: Final = ("authorization", "x-api-key", "api-key", "cookie", "proxy-authorization")
_OWN_HEADERS: Final = ("host", "content-length", "transfer-encoding", "connection")


class RequestBytes:
    """secrets: what no error text may repeat, should a server echo it. Raises UsageError for headers that
    can't be sent.
    """

    __slots__ = ("_fields", "_heads", "_target", "secrets")

    def __init__(self, target: Target, headers: Mapping[str, str]) -> None:
        self._target = target
        self._fields = _header_fields(headers)
        self._heads: dict[tuple[str, str], bytes] = {}
        self.secrets = _secrets(headers)

    def of(self, call: Call) -> bytes:
        key = (call.method, call.path)
        head = self._heads.get(key)
        if head is None:
            target = self._target
            line = f"{call.method} {target.prefix}{call.path} HTTP/1.1\r\nhost: {target.authority}\r\n"
            head = self._heads[key] = line.encode("ascii") + self._fields
        own = b"x-grok-conv-id: %b\r\n" % call.conv_id.encode("ascii") if call.conv_id else b""
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (head, own, len(call.body), bytes(call.body))


def _header_fields(headers: Mapping[str, str]) -> bytes:
    fields = {
        "content-type": "application/json",
        "accept": "text/event-stream, application/json",
        "accept-encoding": "identity",  # without a word from us any coding would be allowed
    }
    fields |= {name.lower(): value for name, value in headers.items()}
    for name, value in fields.items():
        if name in _OWN_HEADERS:
            raise UsageError(f"header {name}: it is set by the client itself")
        if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            raise UsageError("a header's name may hold letters, digits, - and _ only")
        if any(not " " <= letter <= "~" for letter in value):
            raise UsageError(f"header {name}: only printable ASCII on one line can be sent (check the key)")
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode("ascii")


def _secrets(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The values of secret headers, whole and by word, the longest first."""
    found: set[str] = set()
    for name, value in headers.items():
        if name.lower() in _SECRET_HEADERS:
            found.update(part for part in (value, *value.split()) if len(part) >= 8)
    return tuple(sorted(found, key=len, reverse=True))
