"""The errors a user sees: one clear sentence each, with the exit code that the command ends with.

UsageError (2): bad flag, file or scenario, missing key. OperationError (1): target down, port in use.
Anything else that escapes is a fault of servebench itself.
"""


class ServebenchError(Exception):
    """A sentence for the user. exit_code: what the command returns."""

    exit_code = 1


class OperationError(ServebenchError):
    exit_code = 1


class UsageError(ServebenchError):
    """All that is wrong with the user's input, one sentence a line."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
