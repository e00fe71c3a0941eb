"""The floor in Python: bare aiohttp on uvloop, chunks written to the transports by one timer a step.

    python benchmarks/bare_aiohttp.py STEP_US     prints its address; 0: a step after each look at the sockets

It parses a request with orjson and answers with bytes encoded beforehand; nothing is computed.
"""

import asyncio
import sys
import time

import orjson
import uvloop
from aiohttp import web

EVENT = (
    b'data: {"id":"01234567-0123-0123-0123-0123456789ab","object":"chat.completion.chunk",'
    b'"created":1764000000,"model":"grok-4.3","choices":[{"index":0,"delta":{"content":" there"}}],'
    b'"system_fingerprint":"fp_0123456789abcdef","service_tier":"default"}\n\n'
)
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = CHUNK + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Written(web.StreamResponse):
    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class Server:
    def __init__(self, step_s: float) -> None:
        self._open: dict[asyncio.Future[None], list[object]] = {}
        self._step_s = step_s
        self._loop = asyncio.get_running_loop()
        self._loop.create_task(self._steps())

    async def _steps(self) -> None:
        due_s = time.monotonic()
        while True:
            due_s += self._step_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()) if self._step_s else 0.0)
            for done, stream in list(self._open.items()):
                transport, left = stream
                if transport.is_closing():  # type: ignore[attr-defined]
                    continue
                stream[1] = left - 1  # type: ignore[operator]
                if stream[1]:
                    transport.write(CHUNK)  # type: ignore[attr-defined]
                    continue
                transport.write(END)  # type: ignore[attr-defined]
                del self._open[done]
                done.set_result(None)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        if not body.get("stream"):
            return web.Response(body=EVENT[6:-2], content_type="application/json")
        assert request.transport is not None
        request.transport.write(HEAD)
        done = self._loop.create_future()
        self._open[done] = [request.transport, body["max_completion_tokens"]]
        try:
            await done
        finally:
            self._open.pop(done, None)
        return Written()


async def main(step_s: float) -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", Server(step_s).chat)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(f"listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1]) / 1e6))
