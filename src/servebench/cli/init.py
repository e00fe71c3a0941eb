"""servebench init: a scenario file to edit, from a shipped one."""

import click


@click.command()
@click.argument("name", default="chat")
@click.option("--out", metavar="FILE", help="Where to write it; - prints it.  [default: my-NAME.yaml]")
@click.option("--force", is_flag=True, help="Overwrite the file if there is one.")
def command(name: str, out: str | None, force: bool) -> None:
    """Write a commented scenario to edit, a copy of the shipped one called NAME (default: chat)."""
    import re
    from pathlib import Path

    from servebench.errors import OperationError, UsageError
    from servebench.workload.scenario import parse_scenario, scenario_text

    text = scenario_text(name)
    path = Path(out or f"my-{name.replace('_', '-')}.yaml")
    title = re.sub(r"[^A-Za-z0-9_.\-]+", "-", name if out == "-" else path.stem).strip("-")[:64] or name
    text = re.sub(r"^name: .*$", f"name: {title}", text, count=1, flags=re.MULTILINE)
    shown = "FILE" if out == "-" else str(path)
    text = (
        f"# A copy of the shipped scenario {name}: edit it, then  servebench run {shown}\n"
        f"# What each key means: docs/SCENARIOS.md. A wrong file tells all its errors at once.\n#\n{text}"
    )
    parse_scenario(text, str(path))
    if out == "-":
        click.echo(text, nl=False)
        return
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(
            f"{path} is already there: choose another --out, or --force to overwrite it"
        ) from None
    except OSError as error:
        raise OperationError(f"{path}: cannot be written: {error.strerror}") from None
    click.echo(f"Wrote {path}. Edit it, then: servebench run {path}")
