"""A chat stream of three tokens, as a server sends it, and the record that one call of it leaves."""

import json

from servebench.meter.call import Timeouts
from servebench.meter.record import RequestRecord
from tests.meter.servers import (
    FAST,
    STREAM_HEAD,
    Handler,
    frame,
    run_calls,
    serve,
)

LAST = b"0\r\n\r\n"


def event(delta: dict[str, object], finish: str | None = None, end: str = "\n") -> bytes:
    choice = {"index": 0, "delta": delta} | ({"finish_reason": finish} if finish else {})
    return f"data: {json.dumps({'id': '1', 'choices': [choice]})}{end}{end}".encode()


A, B, C = (event({"content": text}) for text in (" a", " b", " sea"))
FINISH = event({}, "stop")
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}\n\n'
DONE = b"data: [DONE]\n\n"
GOOD = STREAM_HEAD + b"".join(frame(part) for part in (A, B, C, FINISH, USAGE, DONE)) + LAST


def record_of(handler: Handler, *, timeouts: Timeouts = FAST) -> RequestRecord:
    with serve(handler) as port:
        results, _ = run_calls(port, timeouts=timeouts)
    return results[0][0]


def refusal(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )
