"""`servebench selfcheck`: the instrument's error on this machine, measured against a server that stamps."""

import json
import sys
from typing import Any

import click

from servebench.cli.finite import FiniteRange

_EXIT_INVALID = 5


def _counts(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1 or max(counts) > 20_000:
        raise click.BadParameter(f"{text!r} is no list of stream counts (1 to 20000), as in 100,500")
    return counts


@click.command("selfcheck", short_help="The instrument's error on this machine, and how much it can carry.")
@click.option("--streams", default="100,500,1000,2000", show_default=True, callback=_counts,
              help="How many streams at once, comma-separated.")  # fmt: skip
@click.option("--seconds", type=FiniteRange(0.2, 600), default=4.0, show_default=True,
              help="Measured time of each run, once all streams are open.")  # fmt: skip
@click.option("--runs", type=click.IntRange(1, 100), default=1, show_default=True,
              help="Runs of each; the medians are shown.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(streams: tuple[int, ...], seconds: float, runs: int, as_json: bool) -> None:
    """Measure the instrument's own error on this machine, and keep the result for the reports of its runs.

    Streams are read from a server that stamps each chunk before it sends it, on another core; arrivals are
    paced at 100 and 500 requests/s. Takes less than a minute by default. Exit 5 where the instrument is not
    good enough here.
    """
    from servebench.drive.selfcheck import selfcheck
    from servebench.drive.selfcheck_store import store_selfcheck

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\rselfcheck: {text}\033[K", err=True, nl=False)
        else:
            click.echo(f"selfcheck: {text}", err=True)

    result = selfcheck(streams=streams, seconds=seconds, runs=runs, progress=progress)
    if sys.stderr.isatty():
        click.echo("\r\033[K", err=True, nl=False)
    path = store_selfcheck(result)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        _show(result)
        click.echo(f"kept in {path}, for the reports of this machine's runs")
    if result["reasons"]:
        for reason in result["reasons"]:
            click.echo(f"servebench: not good enough here: {reason}", err=True)
        raise SystemExit(_EXIT_INVALID)


def _show(result: dict[str, Any]) -> None:
    from servebench.cli.tables import console, table

    out = console()
    headings = ("streams", "chunks/s", "chunk error", "ITL error", "TTFT error", "coalesced", "no stamp",
                "core s/M chunks", "loop lag", "server's send")  # fmt: skip
    title = "The meter against a server that stamps what it sends (us, p50 / p99)"
    shown = table(title, headings, whole=headings, right=headings)
    for count, row in result["streams"].items():
        shown.add_row(
            count,
            f"{row['chunks_per_s']:.0f}",
            *(_pair(row[key], digits) for key, digits in
              (("chunk_error_us", 1), ("itl_error_us", 1), ("ttft_error_us", 0))),
            f"{row['coalesced_share']:.3%}",
            f"{row['missing_stamps']:.0f}",
            f"{row['core_s_per_million_chunks']:.1f}",
            _pair(row["loop_lag_us"], 0),
            _pair(row["server_send_us"], 1),
        )  # fmt: skip
    out.print(shown)
    of_pacer = ("requests/s", "late", "rate off by")
    shown = table(
        "The pacer: send - intended start (us, p50 / p99)", of_pacer, whole=of_pacer, right=of_pacer
    )
    for rate, row in result["pacing"].items():
        error = row["rate_error"]
        shown.add_row(rate, _pair(row["late_us"], 0), "-" if error is None else f"{error:+.4%}")
    out.print()
    out.print(shown)
    limits = result["limits"]
    carried = result["capacity_streams"]
    click.echo(
        f"\ncarries {'none of these' if carried is None else f'{carried} streams'} "
        f"(chunk error p99 <= {limits['chunk_error_p99_us']:g} us, "
        f"coalesced < {limits['coalesced_share']:.0%}, of those tried)"
    )
    if not result["cores_apart"]:
        click.echo("one core: client and server share it, and the figures hold what that costs")


def _pair(values: dict[str, float | None], digits: int) -> str:
    return " / ".join("-" if values[key] is None else f"{values[key]:.{digits}f}" for key in ("p50", "p99"))
