"""The server's process: event loop, listening socket, signals, the owner's pipe, a prompt end."""

import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from aiohttp import web

from mock_server.app import Mock
from mock_server.choices import STOP_GRACE_S
from mock_server.fault_rules import Limits, MockConfig, read_config_file
from mock_server.gate import SharedTables
from mock_server.handover import adopt
from mock_server.model import Model, build_model, replica_counts
from mock_server.peers import Peers
from mock_server.share import Share
from servebench.catalog.load import load_catalog
from servebench.catalog.profile import with_profiles
from servebench.catalog.tiers import Tier
from servebench.descriptors import make_room
from servebench.engine.disaggregation import Split
from servebench.errors import OperationError, UsageError

_BACKLOG = 4096
# how long a thread that parses a big body may keep the interpreter from the event loop (the default is 5 ms)
_SWITCH_INTERVAL_S = 0.0002
_ROOM_FOR_FILES = 20_000  # connections, nearly all
_GC_THRESHOLDS = (20_000, 20, 50)  # requests leave few cycles behind, and a pause is a late chunk


@dataclass(frozen=True, slots=True)
class ServeOptions:
    tiers: Sequence[str]  # ids or aliases; empty: all, or those of the profiles
    replicas: int  # per tier
    host: str
    port: int  # 0: a free one
    seed: int
    keys: frozenset[str]
    time_scale: float  # engine seconds per real second
    exit_fd: int | None  # a pipe's read end whose closing ends the server
    faults: Path | None = None
    limit_tier: str | None = None
    queue_limit: int | None = None
    profiles: Sequence[Path] = ()  # tiers in place of the catalog's
    router: str = "least-loaded"
    split: Split | None = None  # a replica is then a group
    drafts: int | None = None  # with accepted: in place of the tiers' own
    accepted: float | None = None
    workers: int = 1
    tls: tuple[Path, Path] | None = None  # certificate chain and key, PEM


def serve(
    options: ServeOptions, *, several: Callable[[ServeOptions, Sequence[Model], MockConfig], None]
) -> None:
    """Serves until told to stop; several: how, with more than one worker. Raises UsageError (unknown tier),
    OperationError (it can't listen).
    """
    models = build_models(options)
    config = build_config(options, models)
    if options.exit_fd is not None:
        try:
            os.fstat(options.exit_fd)
        except OSError as error:
            raise UsageError(f"--exit-with-fd {options.exit_fd}: not an open file descriptor") from error
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # what is there by now stays, and is not looked through again
    gc.set_threshold(*_GC_THRESHOLDS)
    if options.workers == 1:
        sock = listen(options.host, options.port)
        announce(options.host, sock, tls=tls_context(options) is not None)
        serve_part(Part(options, models, config, sock, options.exit_fd))
    else:
        _require_separable(options)
        several(options, models, config)


def _require_separable(options: ServeOptions) -> None:
    """Raises UsageError for what several processes can't do."""
    problems = []
    if options.workers > options.replicas * max(1, len(options.tiers) + len(options.profiles)):
        problems.append(f"--workers {options.workers}: a worker needs a replica of its own; add --replicas")
    if options.router == "prefix-aware":
        problems.append("--router prefix-aware looks into every replica's cache, so it needs --workers 1")
    if options.split is not None:
        problems.append("--disaggregate sends KV between replicas of one process, so it needs --workers 1")
    if options.tls is not None:
        problems.append("--tls-cert: connections are handed between workers, so it needs --workers 1")
    if not hasattr(os, "memfd_create"):
        problems.append("--workers needs Linux")
    if problems:
        raise UsageError(*problems)


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket. shared: others may listen at the same address. Raises OperationError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, number, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        sock = socket.socket(family, kind, number)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            sock.bind(address)
            sock.listen(_BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise OperationError(f"can't listen on {host}:{port}: {reason}") from error
    return sock


def tls_context(options: ServeOptions) -> ssl.SSLContext | None:
    """Raises UsageError for files that hold no certificate and key."""
    if options.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(*options.tls)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"--tls-cert, --tls-key: no certificate and key in PEM ({error})") from None
    return context


def announce(host: str, sock: socket.socket, *, tls: bool = False) -> None:
    shown = f"[{host}]" if ":" in host else host
    print(f"listening on http{'s' if tls else ''}://{shown}:{sock.getsockname()[1]}", flush=True)


@dataclass(frozen=True, slots=True)
class Part:
    """What one process serves: all, or a worker's share. until_fd: its closing ends the process."""

    options: ServeOptions
    models: Sequence[Model]
    config: MockConfig
    sock: socket.socket
    until_fd: int | None
    shared: SharedTables | None = None
    share: Share | None = None
    secret: str = ""
    peers: Mapping[int, socket.socket] = field(default_factory=dict)


def serve_part(part: Part) -> None:
    """Until told to stop."""
    make_room(part.sock.fileno(), _ROOM_FOR_FILES)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(part))


def build_models(options: ServeOptions) -> list[Model]:
    """Raises UsageError, naming every unknown tier."""
    catalog, profiled = with_profiles(load_catalog(), options.profiles)
    problems: list[str] = []
    tiers: dict[str, Tier] = {}
    for name in (*options.tiers, *profiled) or catalog.tiers:
        try:
            tier = catalog.tier(name)
            tiers[tier.id] = tier
        except UsageError as error:
            problems += error.problems
    if problems:
        raise UsageError(*problems)
    return [
        build_model(
            catalog,
            _with_drafts(tier, options),
            replicas=options.replicas,
            seed=options.seed,
            router=options.router,
            split=options.split,
        )
        for tier in tiers.values()
    ]


def _with_drafts(tier: Tier, options: ServeOptions) -> Tier:
    """Raises UsageError."""
    if options.drafts is None and options.accepted is None:
        return tier
    drafts = tier.serving.draft_tokens if options.drafts is None else options.drafts
    accepted = 1.0 if options.accepted is None and not drafts else options.accepted
    if accepted is None or not 1 <= accepted <= drafts + 1:
        raise UsageError(f"{tier.id} drafts {drafts} tokens a step: give --accepted, 1 to {drafts + 1}")
    if tier.serving.max_num_batched_tokens < tier.serving.max_num_seqs * (1 + drafts):
        raise UsageError(f"--drafts {drafts}: a step of {tier.id} can't hold so many tokens")
    serving = replace(
        tier.serving, draft_tokens=drafts, accepted_tokens=accepted, accepted_tokens_by_workload={}
    )
    return replace(tier, serving=serving)


def build_config(options: ServeOptions, models: Sequence[Model]) -> MockConfig:
    """The faults file with the flags over it. Raises UsageError with every problem of the file."""
    config = MockConfig()
    if options.faults is not None:
        config = read_config_file(options.faults, replica_counts(models))
    flags: dict[str, object] = {}
    if options.limit_tier is not None:
        flags["limits"] = Limits.model_validate({"tier": options.limit_tier})
    if options.queue_limit is not None:
        flags["queue_limit"] = options.queue_limit
    return config.model_copy(update=flags)


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on this platform: asyncio's own loop does, at half the speed
        return None
    return uvloop.Loop


async def _serve(part: Part) -> None:
    loop, options = asyncio.get_running_loop(), part.options
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if part.until_fd is not None:
        loop.add_reader(part.until_fd, _watch_owner, part.until_fd, loop, stop)
    mock = Mock(
        part.models,
        keys=options.keys,
        seed=options.seed,
        time_scale=options.time_scale,
        config=part.config,
        shared=part.shared,
        share=part.share,
        secret=part.secret,
    )
    app = mock.build_app()
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=STOP_GRACE_S)
    await runner.setup()
    if part.share is not None:
        assert runner.server is not None
        mock.service.peers = Peers(
            part.share.worker,
            part.peers,
            loop,
            answers=mock.service.answers,
            adopt=partial(adopt, runner.server),
        )
    try:
        site = web.SockSite(runner, part.sock, backlog=_BACKLOG, ssl_context=tls_context(part.options))
        await site.start()
        await stop.wait()
    finally:
        loop.call_later(STOP_GRACE_S, _cut, runner)
        logging.getLogger("aiohttp.server").addFilter(_is_no_race)
        await runner.cleanup()


def _is_no_race(record: logging.LogRecord) -> bool:
    """aiohttp gives up a handler as its grace ends, and complains if that ends in the same moment."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.InvalidStateError))


def _cut(runner: web.AppRunner) -> None:
    """Ends what has not ended by itself: aiohttp would wait twice as long and tell no handler."""
    for connection in runner.server.connections if runner.server is not None else ():
        if connection.transport is not None:
            connection.transport.abort()


def _watch_owner(fd: int, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    try:
        gone = not os.read(fd, 4096)
    except BlockingIOError:
        return
    except OSError:
        gone = True
    if gone:
        loop.remove_reader(fd)
        stop.set()
