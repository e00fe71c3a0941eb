"""A mock in this process, on a thread's event loop, of a tier made artificially fast."""

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from mock_server.app import Mock
from mock_server.model import build_model
from servebench.catalog.load import load_catalog
from servebench.catalog.tiers import Tier


def fast_tier(
    step_s: float,
    *,
    max_num_seqs: int = 256,
    draft_tokens: int = 0,
    accepted_tokens: float = 1.0,
    step_noise_cv: float = 0.0,
) -> Tier:
    """grok-4.3 as a toy whose steps take step_s whatever the batch, without a TTFT floor."""
    tier = load_catalog().tier("grok-4.3")
    shape = dataclasses.replace(
        tier.shape,
        params_total=1e6,
        params_active=1e6,
        params_non_expert=5e5,
        layers=1,
        kv_bytes_per_token=1,
        attn_decode_flop=1,
        attn_prefill_flop=1,
    )
    serving = dataclasses.replace(
        tier.serving,
        layer_latency_s=step_s / (1 + draft_tokens),  # every draft costs one layer more
        step_overhead_s=0.0,
        sequence_overhead_s=0.0,
        step_noise_cv=step_noise_cv,
        prefill_noise_cv=0.0,
        prefill_layer_latency_s=0.0,
        ttft_floor_s=0.0,
        max_num_seqs=max_num_seqs,
        draft_tokens=draft_tokens,
        accepted_tokens=accepted_tokens,
    )
    return dataclasses.replace(tier, shape=shape, serving=serving)


@dataclass
class FastMock:
    url: str
    runner: web.AppRunner
    loop: asyncio.AbstractEventLoop

    def unread_bytes(self) -> int:
        """The most that any connection has in its write buffer."""

        async def read() -> int:
            server = self.runner.server
            assert server is not None
            transports = [handler.transport for handler in server.connections]
            return max([t.get_write_buffer_size() for t in transports if t is not None], default=0)

        return asyncio.run_coroutine_threadsafe(read(), self.loop).result(5)


@contextmanager
def fast_mock(tier: Tier) -> Iterator[FastMock]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> web.AppRunner:
        model = build_model(load_catalog(), tier, replicas=1, seed=0)
        app = Mock([model], keys=frozenset(), seed=0).build_app()
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    try:
        runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        yield FastMock(f"http://127.0.0.1:{runner.addresses[0][1]}", runner, loop)
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
