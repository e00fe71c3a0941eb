"""`servebench calibrate`: a tier profile from what is known of a model's speed: a measured run, or one
number.
"""

from pathlib import Path

import click
from click.core import ParameterSource

from servebench.cli.finite import FiniteRange
from servebench.errors import UsageError

PUBLISHED_ONLY = (
    "speed_tokens_per_s", "batch", "context_tokens", "gpus", "contexts", "drafts", "accepted", "source",
)  # fmt: skip


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run_dir", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--published",
    is_flag=True,
    help="Instead of a run: solve the latency per layer from one published speed.",
)
@click.option("--tier", "tier_id", help="Tier to start from.  [default: the run's model, else grok-4.3]")
@click.option(
    "--replicas",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Of a run: replicas that served it.",
)
@click.option(
    "--speed",
    "speed_tokens_per_s",
    type=FiniteRange(min=0, min_open=True),
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
    type=click.IntRange(min=1, max=4096),
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
@click.option(
    "--accepted", type=FiniteRange(min=1, max=17), help="Tokens a step yields, the bonus one included."
)
@click.option("--source", metavar="TEXT", help="Who published the speed; written into the profile.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write the profile (YAML) here."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(
    run_dir: Path | None,
    published: bool,
    tier_id: str | None,
    replicas: int,
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
    """A tier profile fitted to a measured RUN (a run directory), or with --published to one published speed.

    Of a run: host and network, prefill rate, and step time against load are fitted by replaying the run's
    requests through the engine, with the errors that remain. Of a published speed: what was solved, what was
    assumed, what is MODELLED. The profile is YAML that `servebench mock --profile`, `servebench run --target
    mock --profile` and `servebench plan --profile` take, so that CI tests against yesterday's API for free.
    """
    from servebench.catalog.load import load_catalog
    from servebench.cli import measured
    from servebench.cli.published import Request, run

    if published == (run_dir is not None):
        raise UsageError("say what to calibrate to: a run directory, or --published for one published speed")
    _only_of_its_mode(published)
    if run_dir is not None:
        asked = measured.Request(run=run_dir, tier_id=tier_id, replicas=replicas, out=out, as_json=as_json)
        measured.run(load_catalog(), asked)
        return
    request = Request(
        tier_id=tier_id or measured.DEFAULT_BASE,
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


def _only_of_its_mode(published: bool) -> None:
    """Raises UsageError on options that would be passed over in silence."""
    context = click.get_current_context()
    others = ("replicas",) if published else PUBLISHED_ONLY
    given = [
        f"--{name.removesuffix('_tokens_per_s').removesuffix('_tokens')}"
        for name in others
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        verb = "is" if len(given) == 1 else "are"
        raise UsageError(
            f"{', '.join(given)} {verb} {'not ' * published}of --published: leave out the one or the other"
        )
