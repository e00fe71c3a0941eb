"""What goes out: Target (where), Call (one request, ready as bytes) and Timeouts. Values, no I/O, no secret.

The headers that all calls share, and with them the API key, are never part of these values: EngineLoop keeps
them to itself.
"""

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from servebench.errors import UsageError

CHAT_PATH = "/v1/chat/completions"
RESPONSES_PATH = "/v1/responses"
MODELS_PATH = "/v1/models"


@dataclass(frozen=True, slots=True)
class Target:
    """A server. prefix goes before each call's path ("" for most). ca_file: PEM, instead of the system's."""

    host: str
    port: int
    tls: bool = False
    prefix: str = ""
    ca_file: str | None = None

    @classmethod
    def parse(cls, url: str, *, ca_file: str | None = None) -> "Target":
        """From "http://host:port[/prefix]"; a trailing /v1 is dropped, as calls carry it in their path.

        Raises UsageError, without repeating the URL's user part.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as fault:
            raise UsageError(f"target URL: {fault}; write it as http://HOST:PORT") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError("target URL: it must be http://HOST[:PORT] or https://HOST[:PORT]")
        if parts.username is not None or parts.query or parts.fragment:
            raise UsageError(
                "target URL: no user, query or fragment may stand in it; keys go in the environment"
            )
        tls = parts.scheme == "https"
        prefix = parts.path.rstrip("/").removesuffix("/v1")
        if any(not "!" <= letter <= "~" for letter in prefix + parts.hostname):
            raise UsageError("target URL: only printable ASCII may stand in it")
        return cls(parts.hostname, port or (443 if tls else 80), tls, prefix, ca_file)

    @property
    def authority(self) -> str:
        """The Host header's value: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. first_byte_s: from the send to the first byte of the body; idle_s: between reads after it.

    The head alone does not count as a first byte: many servers send it at once and compute afterwards.
    """

    connect_s: float = 10.0
    first_byte_s: float = 300.0
    idle_s: float = 60.0
    total_s: float = 1800.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise UsageError(f"timeout {name} must be above 0")
        if self.total_s > 2000:
            raise UsageError("timeout total_s must be at most 2000 (chunk times are 32-bit microseconds)")


class Body(Protocol):
    """A body that is joined only when it is sent."""

    def __len__(self) -> int: ...
    def __bytes__(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request to send. intended_ns: its intended start, ns since T0. body: the JSON, sent as it is.

    conv_id: sent as the header x-grok-conv-id, by which xAI routes a chat to the server that has its cache;
    "" sends none. Raises UsageError where it is not printable ASCII.
    """

    id: int
    class_name: str
    session: int | None
    turn: int
    model: str
    intended_ns: int
    body: "bytes | Body"
    asked_output_tokens: int | None = None
    asked_prompt_tokens: int | None = None
    sent_prompt_tokens: int | None = None
    path: str = CHAT_PATH
    method: str = "POST"
    conv_id: str = ""

    def __post_init__(self) -> None:
        if self.conv_id and not (self.conv_id.isascii() and self.conv_id.isprintable()):
            raise UsageError("conv_id: only printable ASCII can be sent in a header")
