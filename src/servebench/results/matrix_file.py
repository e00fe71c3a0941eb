"""What a matrix.json must be where it is read again: to be shown, or to go on where a matrix was cut."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from servebench.errors import UsageError
from servebench.results.files import read_object
from servebench.results.manifest_file import PUT_BACK, sentence
from servebench.results.matrix import MATRIX


class TierRow(BaseModel):
    """One run of it. classes: empty where the run came to no summary."""

    model_config = ConfigDict(strict=True, extra="ignore")

    model: str
    run_dir: str
    exit_code: int = Field(ge=0, le=255)
    workload_hash: str
    classes: dict[str, Any]


class MatrixFile(BaseModel):
    """The keys that anything reads."""

    model_config = ConfigDict(strict=True, extra="ignore")

    version: Literal[1] = Field(alias="schema")
    scenario: str
    seed: int
    target: str
    planned: list[str]
    settings: dict[str, Any]
    tiers: list[TierRow]


def read_matrix_file(out: Path) -> MatrixFile:
    """Raises UsageError: missing, no JSON, or a value that no matrix has written there."""
    path = out / MATRIX
    try:
        return MatrixFile.model_validate(read_object(path))
    except FileNotFoundError:
        raise UsageError(f"{path} is missing: {out} holds no matrix") from None
    except ValidationError as error:
        told = error.errors(include_url=False)
        raise UsageError(*(f"{path}: {sentence(item)}; {PUT_BACK}" for item in told)) from None
