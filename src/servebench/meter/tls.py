"""TLS without a TLS socket: ciphertext is read with its kernel stamp and decrypted in memory (MemoryBIO).

`want` keeps reads to one TLS record (RFC 8446, section 5.1: a five-byte header tells the length), as http1
does with frames.
"""

import ssl
from typing import Final

from servebench.errors import UsageError
from servebench.meter.call import Target
from servebench.meter.framing import FrameFloor

_HEADER: Final = 5
_FIRST_READ: Final = 64


def client_context(target: Target) -> ssl.SSLContext:
    """Certificates and host names are always verified. Raises UsageError for an unreadable CA file."""
    try:
        context = ssl.create_default_context(cafile=target.ca_file)
    except (OSError, ssl.SSLError) as fault:
        raise UsageError(f"CA file {target.ca_file}: it can't be read as PEM ({fault})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class RecordFraming:
    """Where TLS records end. want: bytes the next read may take; inside: a record has begun and not ended."""

    __slots__ = ("_floor", "_header", "_left", "want")

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        self._floor = FrameFloor()
        self.want = _FIRST_READ

    @property
    def inside(self) -> bool:
        return bool(self._left or self._header)

    def feed(self, data: bytes) -> None:
        position, size = 0, len(data)
        while position < size:
            if self._left:
                step = min(self._left, size - position)
                self._left -= step
                position += step
                continue
            missing = _HEADER - len(self._header)
            self._header += data[position : position + missing]
            position += missing
            if len(self._header) == _HEADER:
                self._left = int.from_bytes(self._header[3:], "big")
                self._floor.learn(self._left + _HEADER)
                self._header = b""
        self.want = self._left or (
            _HEADER - len(self._header) if self._header else self._floor.want or _FIRST_READ
        )


class TlsChannel:
    """One client session. receive() and the handshake raise ssl.SSLError (a bad certificate among them).

    ready: the handshake is done; closed: the server said goodbye; want and inside as in RecordFraming.
    """

    __slots__ = ("_framing", "_incoming", "_object", "_outgoing", "closed", "ready")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._framing = RecordFraming()
        self.ready = self.closed = False

    @property
    def want(self) -> int:
        return self._framing.want

    @property
    def inside(self) -> bool:
        return self._framing.inside

    def hello(self) -> bytes:
        """The first bytes to send."""
        self._handshake()
        return self._outgoing.read()

    def outgoing(self) -> bytes:
        return self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        self._object.write(data)
        return self._outgoing.read()

    def receive(self, data: bytes) -> bytes:
        """Ciphertext in, plaintext out (none while the handshake goes on)."""
        self._framing.feed(data)
        self._incoming.write(data)
        if not self.ready:
            self._handshake()
            if not self.ready:
                return b""
        parts = []
        try:
            while True:
                part = self._object.read(65536)
                if not part:
                    self.closed = True
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed = True
        return b"".join(parts)

    def _handshake(self) -> None:
        try:
            self._object.do_handshake()
            self.ready = True
        except ssl.SSLWantReadError:
            pass
