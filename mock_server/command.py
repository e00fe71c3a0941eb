"""The command line, of `python -m mock_server` and of `servebench mock`: one set of flags and one help."""

from pathlib import Path

import click

from mock_server.limit_tiers import LIMIT_TIERS

ROUTERS = ("least-loaded", "round-robin", "prefix-aware")  # engine.router's, which `--help` needn't load


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--tier", "tiers", metavar="ID", multiple=True, help="Tier to serve, repeatable.  [default: all five]"
)
@click.option(
    "--profile",
    "profiles",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Tier profile (YAML of `servebench calibrate`) to serve, repeatable.",
)
@click.option("--replicas", type=click.IntRange(1, 1000), default=1, help="Replicas of each tier.")
@click.option(
    "--router",
    type=click.Choice(ROUTERS),
    default="least-loaded",
    help="How requests are spread over a tier's replicas.",
)
@click.option(
    "--disaggregate",
    metavar="P:D",
    help="Each replica is a group: P that prefill, D that decode, KV sent between.",
)
@click.option(
    "--drafts", type=click.IntRange(0, 16), help="Draft tokens of a step.  [default: the tier's own]"
)
@click.option("--accepted", type=float, help="Mean tokens that a step with drafts yields, 1 to drafts + 1.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    help="Processes that share the replicas out among them, behind one port.",
)
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on; 0 takes a free one."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Seed of texts, lengths and step noise."
)
@click.option(
    "--time-scale",
    type=click.FloatRange(min=0.001, max=10_000),
    default=1.0,
    metavar="X",
    help="Engine seconds per real second.",
)
@click.option(
    "--faults",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="What goes wrong, and limits: YAML, see docs/MOCK.md. POST /admin/config changes it at run time.",
)
@click.option(
    "--limit-tier",
    type=click.Choice([*LIMIT_TIERS, "none"]),
    default=None,
    show_default=False,
    help="Enforce xAI's rate limits of this tier, per key and model.  [default: none]",
)
@click.option(
    "--queue-limit",
    type=click.IntRange(0),
    metavar="N",
    help="Refuse (429) what would wait behind N others on its replica.  [default: no limit]",
)
@click.option(
    "--key", "keys", metavar="KEY", multiple=True, help="API key to take, repeatable.  [default: any]"
)
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Serve https with this certificate chain (PEM).",
)
@click.option(
    "--tls-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The certificate's key (PEM).",
)
@click.option(
    "--exit-with-fd", type=click.IntRange(0), metavar="FD", help="Stop when this inherited pipe closes."
)
def command(
    tiers: tuple[str, ...],
    profiles: tuple[Path, ...],
    replicas: int,
    router: str,
    disaggregate: str | None,
    drafts: int | None,
    accepted: float | None,
    workers: int,
    host: str,
    port: int,
    seed: int,
    time_scale: float,
    faults: Path | None,
    limit_tier: str | None,
    queue_limit: int | None,
    keys: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    exit_with_fd: int | None,
) -> None:
    """Serve the mock: an OpenAI-compatible server in xAI's dialect, timed by a model of continuous batching.

    Prints `listening on http://HOST:PORT` and serves until SIGINT or SIGTERM.
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together.")
    from mock_server.serve import ServeOptions, serve
    from mock_server.workers import serve_workers
    from servebench.engine.disaggregation import parse_split

    serve(
        ServeOptions(
            tiers=tiers,
            profiles=profiles,
            replicas=replicas,
            router=router,
            split=None if disaggregate is None else parse_split(disaggregate),
            drafts=drafts,
            accepted=accepted,
            workers=workers,
            host=host,
            port=port,
            seed=seed,
            keys=frozenset(keys),
            time_scale=time_scale,
            faults=faults,
            limit_tier=limit_tier,
            queue_limit=queue_limit,
            tls=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
            exit_fd=exit_with_fd,
        ),
        several=serve_workers,
    )
