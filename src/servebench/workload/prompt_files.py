"""Prompts of the user's own from a file or a directory: the only reader of their files."""

from pathlib import Path

from servebench.errors import UsageError
from servebench.workload.prompt_set import ERRORS_SHOWN, MAX_BYTES, PromptSet, documents, parse_prompts
from servebench.workload.text_file import read_text_file


def load_prompts(path: str | Path) -> PromptSet:
    """A JSONL of messages, ShareGPT's JSON, or every file of a directory, in the order of their names.

    Hidden files and directories stay out. UsageError for what cannot be read, is not UTF-8, or holds no
    prompt: of a directory, all of its files at once.
    """
    path = Path(path)
    if not path.is_dir():
        _check_size(path, [path])
        return parse_prompts(read_text_file(path), name=path.name)
    files = sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file, path))
    _check_size(path, files)
    texts: list[str] = []
    problems: list[str] = []
    for file in files:
        try:
            texts.append(read_text_file(file))
        except UsageError as error:
            problems += error.problems
    if problems:
        more = len(problems) - ERRORS_SHOWN
        raise UsageError(*problems[:ERRORS_SHOWN], *([f"{path}: and {more} more"] if more > 0 else []))
    return documents(texts, name=path.name)


def _hidden(file: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(root).parts)


def _check_size(path: Path, files: list[Path]) -> None:
    """Before anything is read: a directory given by mistake may hold a disk's worth."""
    try:
        size = sum(file.stat().st_size for file in files)
    except OSError:
        return  # reading it will say what is wrong
    if size > MAX_BYTES:
        raise UsageError(
            f"{path}: {size / 2**20:,.0f} MiB of prompts, more than the {MAX_BYTES >> 20} that fit"
        )
