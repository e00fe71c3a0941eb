"""The verbs. Each lives in a module of its own and is imported only when it is asked for: locust must be
imported before anything that touches ssl or sockets, and `--help` must be quick.
"""

import importlib
import os
import sys

import click

from servebench import __version__
from servebench.errors import ServebenchError

# verb -> one-line help, shown by `servebench --help` without importing the verb
VERBS = {
    "demo": "Start the mock, drive a mixed scenario through Locust, print the table, write the run.",
    "mock": "Serve the mock: an OpenAI-compatible server in xAI's dialect, timed by a model of batching.",
    "run": "One measured run of a scenario against a mock, the xAI API or any URL.",
    "init": "Write a commented scenario to edit, from a shipped one.",
    "plan": "Replicas, GPUs and dollars an hour for a rate and an SLO, by simulation.",
    "economics": "Per tier: speed, cost to serve, price or break-even price, margin, energy, what binds.",
    "tiers": "The model tiers of the catalog, each number with its source.",
    "prices": "API prices, with dates and sources.",
    "calibrate": "A tier profile fitted to a measured run or a published speed, for the mock and the plan.",
    "selfcheck": "The instrument's error on this machine, and how much it can carry.",
    "report": "HTML, Markdown, JUnit and OpenMetrics again, from a run directory.",
}


class LazyGroup(click.Group):
    """Its commands are modules of this package: `servebench.cli.<verb>` with a click command `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"servebench.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="servebench")
def cli() -> None:
    """Load tester and capacity planner for large-model inference.

    Exit codes: 0 pass, 1 error, 2 usage or bad scenario, 3 gate failed, 4 inconclusive, 5 INVALID run,
    6 stopped by its budget, 130 interrupted.
    """


def main() -> None:
    """The console script: what a user did wrong ends as a sentence and an exit code, never a traceback."""
    try:
        try:
            cli.main(standalone_mode=False)
        finally:
            if sys.stdout is not None:  # closed by who started it
                sys.stdout.flush()  # what it can't write shows here, not in a traceback at exit
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ServebenchError as error:
        for line in str(error).splitlines():
            click.echo(f"servebench: {line}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("servebench: interrupted", err=True)
        sys.exit(130)
    except OSError as error:  # of the output: files and sockets have sentences of their own
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not isinstance(error, BrokenPipeError):  # else who read it has had enough
            click.echo(f"servebench: {error.strerror or error}: {error.filename or 'the output'}", err=True)
        sys.exit(1)
