"""Ending: how an exchange ended, as the socket saw it, and which outcome that is if nothing else was said."""

from enum import Enum
from typing import Final

from servebench.meter.record import Outcome


class Ending(Enum):
    """value: the sentence."""

    COMPLETE = "the response was whole"
    CUT = "the connection was closed or reset"
    NO_CONNECTION = "no connection"
    NO_FIRST_BYTE = "no first byte in time"
    IDLE = "no more bytes in time"
    MALFORMED = "not HTTP/1.1"
    ABORTED = "the run ended"


OUTCOME_OF: Final = {
    Ending.CUT: Outcome.STREAM_CUT,
    Ending.NO_CONNECTION: Outcome.CONNECT_ERROR,
    Ending.NO_FIRST_BYTE: Outcome.TIMEOUT_FIRST,
    Ending.IDLE: Outcome.STALLED,
    Ending.MALFORMED: Outcome.BAD_RESPONSE,
    Ending.ABORTED: Outcome.ABORTED,
}
