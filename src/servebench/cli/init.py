"""servebench init: a scenario file to edit, from a shipped one."""

import click

_HEADER = """\
# A copy of the shipped scenario {name}, to edit. A wrong file tells all its errors at once.
#   servebench run {path} --dry-run   prints what would be sent: rates, tokens, cached share, dollars at most
#   servebench run {path}             runs it on a mock of its model; --target URL on a server of yours
# What is published or derived here is so as long as it is left alone: mark your own numbers as yours, and set
# cache_share to what the dry run counts. Among the keys that docs/SCENARIOS.md has besides these:
#   prompts: texts                    prompts of your own, a file or directory beside this file (no sessions)
#   tiers: [grok-4.3, grok-5-small]   the same on several models, side by side
#   load: {{users: 20, think_time_s: 5, duration_s: 60}}   a closed loop, in place of the load below
#
"""


@click.command()
@click.argument("name", default="chat")
@click.option("--out", metavar="FILE", help="Where to write it; - prints it.  [default: my-NAME.yaml]")
@click.option("--force", is_flag=True, help="Overwrite the file if there is one.")
def command(name: str, out: str | None, force: bool) -> None:
    """Write a commented scenario to edit, a copy of the shipped one called NAME (default: chat)."""
    import re
    from pathlib import Path

    from servebench.errors import UsageError
    from servebench.results.files import write_bytes
    from servebench.workload.scenario import parse_scenario, scenario_text

    text = scenario_text(name)
    path = Path(out or f"my-{name.replace('_', '-')}.yaml")
    title = re.sub(r"[^A-Za-z0-9_.\-]+", "-", name if out == "-" else path.stem).strip("-")[:64] or name
    text = re.sub(r"^name: .*$", f"name: {title}", text, count=1, flags=re.MULTILINE)
    text = _HEADER.format(name=name, path="FILE" if out == "-" else path) + text
    parse_scenario(text, str(path))
    if out == "-":
        click.echo(text, nl=False)
        return
    if path.exists() and not force:
        raise UsageError(f"{path} is already there: choose another --out, or --force to overwrite it")
    write_bytes(path, text.encode())
    click.echo(f"Wrote {path}. Edit it, then: servebench run {path}")
