"""What the result of a selfcheck must be where it is read again. Only what readers use is named."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e18, le=1e18)]


class Part(BaseModel):
    """Of a file that anyone may have edited: what else stands in it is left alone."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Error(Part):
    p99: Number | None = None


class _Stream(Part):
    chunk_error_us: _Error | None = None


class _Limits(Part):
    chunk_error_p99_us: Number | None = None


class Selfcheck(Part):
    """Of `servebench selfcheck`, as a manifest has it from the machine it ran on."""

    date: str | None = None
    limits: _Limits | None = None
    streams: dict[str, _Stream] | None = None
