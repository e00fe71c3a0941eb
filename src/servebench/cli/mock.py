"""`servebench mock`: the mock server in this process, with the flags of `python -m mock_server`."""

from mock_server.command import command

__all__ = ["command"]
