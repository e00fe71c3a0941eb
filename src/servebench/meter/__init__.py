"""How one request is measured: socket, HTTP, SSE -> RequestRecord. Never imports the engine or the mock."""

from servebench.meter.record import Outcome, RequestRecord

__all__ = ["Outcome", "RequestRecord"]
