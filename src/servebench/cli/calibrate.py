"""`servebench calibrate`: a tier profile from what is known of a model's speed."""

from pathlib import Path

import click

from servebench.errors import UsageError


@click.command()
@click.option(
    "--published",
    is_flag=True,
    help="Solve the latency per layer from one published speed.",
)
@click.option("--tier", "tier_id", default="grok-4.3", show_default=True, help="Tier to start from.")
@click.option(
    "--speed",
    "speed_tokens_per_s",
    type=click.FloatRange(min=0, min_open=True),
    help="Published output tokens/s of one user.  [default: the tier's own]",
)
@click.option("--batch", type=click.IntRange(min=1), help="Batch the speed is taken to mean.  [default: 32]")
@click.option(
    "--context",
    "context_tokens",
    type=click.IntRange(min=1),
    help="Context of each sequence it is taken to mean.  [default: 64000]",
)
@click.option(
    "--gpus",
    type=click.IntRange(min=1),
    help="GPUs of a replica.  [default: the fewest of 4, 8, 16, 32, 64, 72 that will do]",
)
@click.option(
    "--contexts",
    type=click.IntRange(min=0),
    default=8,
    show_default=True,
    help="Contexts of 1M tokens that a replica must hold.",
)
@click.option(
    "--drafts", type=click.IntRange(0, 16), help="Draft tokens of a step.  [default: the tier's own]"
)
@click.option("--accepted", type=float, help="Tokens a step yields, the bonus one included.")
@click.option("--source", metavar="TEXT", help="Who published the speed; written into the profile.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write the profile (YAML) here."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(
    published: bool,
    tier_id: str,
    speed_tokens_per_s: float | None,
    batch: int | None,
    context_tokens: int | None,
    gpus: int | None,
    contexts: int,
    drafts: int | None,
    accepted: float | None,
    source: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """A tier profile from a published speed: what was solved, what was assumed, what is MODELLED.

    The profile is YAML that `servebench mock --profile` and `servebench plan --profile` serve.
    """
    from servebench.catalog.load import load_catalog
    from servebench.cli.published import Request, run

    if not published:
        raise UsageError("say what to calibrate to: --published, for one published speed")
    request = Request(
        tier_id=tier_id,
        speed_tokens_per_s=speed_tokens_per_s,
        batch=batch,
        context_tokens=context_tokens,
        gpus=gpus,
        contexts=contexts,
        drafts=drafts,
        accepted=accepted,
        source=source,
        out=out,
        as_json=as_json,
    )
    run(load_catalog(), request)
