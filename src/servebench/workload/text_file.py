"""A text file of the user's own, read whole."""

from pathlib import Path

from servebench.errors import UsageError


def read_text_file(path: Path) -> str:
    """UTF-8, with or without a byte-order mark. UsageError says which file it is and what is wrong."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
