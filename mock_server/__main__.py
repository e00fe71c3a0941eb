"""`python -m mock_server`: errors end as one sentence and an exit code, never a traceback."""

import sys

import click

from mock_server.command import command
from servebench.errors import ServebenchError


def main() -> None:
    try:
        command.main(prog_name="mock_server", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ServebenchError as error:
        for line in str(error).splitlines():
            click.echo(f"mock_server: {line}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


if __name__ == "__main__":
    main()
