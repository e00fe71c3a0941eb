"""Prompts of the user's own from a file or a directory: the only reader of their files."""

from pathlib import Path

from servebench.errors import UsageError
from servebench.workload.prompt_set import PromptSet, documents, parse_prompts


def load_prompts(path: str | Path) -> PromptSet:
    """A JSONL of messages, ShareGPT's JSON, or every file of a directory, in the order of their names.

    UsageError for what cannot be read, is not UTF-8, or holds no prompt.
    """
    path = Path(path)
    if not path.is_dir():
        return parse_prompts(_text(path), name=path.name)
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    return documents([_text(file) for file in files], name=path.name)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
