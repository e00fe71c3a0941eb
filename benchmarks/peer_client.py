"""Other clients, measured as the meter is: N streams kept open, the time of each event as their users see it.

    python benchmarks/peer_client.py PEER --port P --streams N --seconds S --tokens T --itl-us US --out FILE

PEER: aiohttp (with uvloop), geventhttpclient (a greenlet a stream, readline), openai (its SDK). FILE gets
int64: id, sent_ns, n, the n times; a request after the other. meter_accuracy.py runs this as its child.
"""

import argparse
import gc
import json
import sys
import time
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

PATH = "/v1/chat/completions"
_now_ns = time.monotonic_ns


class Log:
    """Requests by id; carries what each peer needs to ask."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.rows = array("q")
        self.until_ns = 0
        self._next_id = 0

    def ramp_s(self) -> float:
        """Between two beginnings: they are spread over the length of an answer, as the meter's are."""
        return float(self.options.tokens * self.options.itl_us / 1e6 / self.options.streams)

    def begin(self) -> None:
        """All streams are to be open by the end of the ramp."""
        self.until_ns = _now_ns() + int(1e9 * (self.ramp_s() * self.options.streams + self.options.seconds))

    def ask(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(id, body) of one caller's requests, until the time is up."""
        while _now_ns() < self.until_ns:
            call_id, self._next_id = self._next_id, self._next_id + 1
            yield call_id, {
                "model": "reference", "stream": True, "max_tokens": self.options.tokens,
                "itl_us": self.options.itl_us, "user": str(call_id),
            }  # fmt: skip

    def answered(self, call_id: int, sent_ns: int, times: "array[int]") -> None:
        self.rows.extend((call_id, sent_ns, len(times)))
        self.rows.extend(times)


def carries(event: Any) -> bool:
    """Whether a parsed chunk holds a token."""
    return bool(event.get("choices") and event["choices"][0].get("delta", {}).get("content"))


def run_aiohttp(log: Log) -> None:
    import aiohttp
    import uvloop

    url = f"http://127.0.0.1:{log.options.port}{PATH}"

    async def caller(session: aiohttp.ClientSession) -> None:
        for call_id, body in log.ask():
            times, sent_ns = array("q"), _now_ns()
            async with session.post(url, json=body) as response:
                async for line in response.content:
                    if line.startswith(b"data: {"):
                        at_ns = _now_ns()
                        if carries(json.loads(line[6:])):
                            times.append(at_ns)
            log.answered(call_id, sent_ns, times)

    async def main() -> None:
        import asyncio

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            log.begin()
            tasks = []
            for _ in range(log.options.streams):
                tasks.append(asyncio.create_task(caller(session)))
                await asyncio.sleep(log.ramp_s())
            await asyncio.gather(*tasks)

    uvloop.run(main())


def run_geventhttpclient(log: Log) -> None:
    import gevent
    from geventhttpclient import HTTPClient

    client = HTTPClient(
        "127.0.0.1", log.options.port, concurrency=log.options.streams,
        connection_timeout=60, network_timeout=60,
    )  # fmt: skip

    def caller() -> None:
        for call_id, body in log.ask():
            times, sent_ns = array("q"), _now_ns()
            headers = {"content-type": "application/json"}
            response = client.post(PATH, body=json.dumps(body), headers=headers)
            while line := response.readline(b"\n\n"):
                if line.startswith(b"data: {"):
                    at_ns = _now_ns()
                    if carries(json.loads(line[6:])):
                        times.append(at_ns)
                elif line.startswith(b"data: [DONE]"):
                    response.read()
                    break
            log.answered(call_id, sent_ns, times)

    log.begin()
    callers = []
    for _ in range(log.options.streams):
        callers.append(gevent.spawn(caller))
        gevent.sleep(log.ramp_s())
    gevent.joinall(callers)


def run_openai(log: Log) -> None:
    import asyncio

    import httpx2
    import uvloop
    from openai import AsyncOpenAI

    async def events(client: AsyncOpenAI, body: dict[str, Any]) -> AsyncIterator[Any]:
        asked = {key: body[key] for key in ("model", "stream", "max_tokens", "user")}
        extra = {"itl_us": body["itl_us"]}
        messages: Any = [{"role": "user", "content": "?"}]
        stream: Any = await client.chat.completions.create(messages=messages, extra_body=extra, **asked)
        async for event in stream:
            yield event

    async def caller(client: AsyncOpenAI) -> None:
        for call_id, body in log.ask():
            times, sent_ns = array("q"), _now_ns()
            async for event in events(client, body):
                at_ns = _now_ns()
                if event.choices and event.choices[0].delta.content:
                    times.append(at_ns)
            log.answered(call_id, sent_ns, times)

    async def main() -> None:
        limits = httpx2.Limits(max_connections=None)
        base_url = f"http://127.0.0.1:{log.options.port}/v1"
        http = httpx2.AsyncClient(limits=limits, timeout=60)
        client = AsyncOpenAI(base_url=base_url, api_key="none", http_client=http)
        log.begin()
        tasks = []
        for _ in range(log.options.streams):
            tasks.append(asyncio.create_task(caller(client)))
            await asyncio.sleep(log.ramp_s())
        await asyncio.gather(*tasks)

    uvloop.run(main())


PEERS: dict[str, Callable[[Log], None]] = {
    "aiohttp": run_aiohttp,
    "geventhttpclient": run_geventhttpclient,
    "openai": run_openai,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--itl-us", type=int, required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    log = Log(options)
    gc.collect()
    gc.freeze()
    PEERS[options.peer](log)
    with open(options.out, "wb") as out:
        log.rows.tofile(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
