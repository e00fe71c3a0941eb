"""How one request is measured: socket, HTTP, SSE -> RequestRecord. Never imports the engine or the mock."""

from servebench.meter.record import Outcome, RequestRecord, SessionState

__all__ = ["Outcome", "RequestRecord", "SessionState"]
