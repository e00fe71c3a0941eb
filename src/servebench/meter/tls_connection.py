"""A connection with TLS between socket and HTTP: the kernel stamps the ciphertext, one record a read."""

import ssl
import time

from servebench.meter.connection import Connection
from servebench.meter.dial import no_connection
from servebench.meter.ending import Ending
from servebench.meter.exchange import Exchange
from servebench.meter.owner import Owner
from servebench.meter.timestamps import ANCILLARY_BYTES
from servebench.meter.tls import TlsChannel


class TlsConnection(Connection):
    """The request goes out once the certificate stands; a failed handshake is no connection."""

    __slots__ = ("_channel", "_context")

    def __init__(self, engine: Owner, context: ssl.SSLContext) -> None:
        super().__init__(engine)
        self._context = context

    def _greet(self) -> None:
        self._channel = TlsChannel(self._context, self._engine.target.host)
        self._wire.put(self._channel.hello())
        self._transmit()

    def _encode(self, payload: bytes) -> bytes:
        return self._channel.encrypt(payload)

    def readable(self) -> None:
        exchange = self._exchange
        if exchange is None:
            self._engine.forget(self)
            return
        channel = self._channel
        while True:
            now_ns = time.monotonic_ns()
            try:
                data, ancillary, _, _ = self._sock.recvmsg(channel.want, ANCILLARY_BYTES)
                plain = channel.receive(data) if data else b""
            except BlockingIOError:
                return
            except ssl.SSLError as fault:
                self._broken(exchange, f"TLS: {fault.reason or fault}")
                return
            except OSError as fault:
                self._broken(exchange, fault.strerror or "the connection broke")
                return
            at_ns = self.stamp(ancillary, now_ns)
            if plain:
                self._last_ns = now_ns
                self._digest(exchange, plain, at_ns, stamped=bool(ancillary))
                if self._parser.ended:
                    self._ended(at_ns)
            if not data or channel.closed:
                self._closed(exchange, now_ns)
                return
            self._answer_back(exchange)
            if self._exchange is not exchange or not channel.inside:
                return

    def _answer_back(self, exchange: Exchange) -> None:
        """What the handshake (or a key update) wants sent; the request itself once the session stands."""
        pending = self._channel.outgoing()
        if pending:
            self._wire.put(pending)
        if self._channel.ready and not exchange.asked and self._exchange is exchange:
            if exchange.connect_ns is not None:
                exchange.tls_ns = time.monotonic_ns() - self._dial.opened_ns - exchange.connect_ns
            self._ask(exchange)
        elif pending:
            self._transmit()

    def _closed(self, exchange: Exchange, now_ns: int) -> None:
        current = self._exchange
        if current is None:  # the answer was whole, and a goodbye came with it
            self._engine.forget(self)
        elif current is not exchange:  # and the next request is on its way already
            self._lost(current, "closed by the server")
        elif self._channel.ready:
            self._eof(exchange, now_ns)
        else:
            self._broken(exchange, "closed by the server during the TLS handshake")

    def _broken(self, exchange: Exchange, reason: str) -> None:
        if self._channel.ready:
            self._lost(exchange, reason)
        else:
            self.end(Ending.NO_CONNECTION, no_connection(self._engine.target, reason))
