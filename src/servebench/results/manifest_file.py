"""What a manifest.json must be where it is read again: it may have been edited, or be of another version.

Only what readers use is named; whatever else stands in it is left alone. A missing key is an unknown fact.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from servebench.catalog.provenance import Kind
from servebench.errors import UsageError
from servebench.results.facts import Objectives
from servebench.results.selfcheck_file import Number, Part, Selfcheck

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SCHEMA = 1
PUT_BACK = "put back what was written there"
_MOST_S = 1e9  # thirty years: no run is as long, and its nanoseconds fit 63 bits
_SHOWN = 60  # characters of a wrong value

Seconds = Annotated[float, Field(ge=0, le=_MOST_S)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Ticks = Annotated[int, Field(ge=0, le=10**13)]  # $1,000 for a token
Amount = Annotated[str, Field(pattern=r"^\d{1,12}(\.\d{1,30})?$")]


class _Class(Part):
    name: str
    slo: list[str] | None = None
    goodput: list[str] | None = None
    reasoning_effort: str | None = None


class _Load(Part):
    shape: Any = None


class _Scenario(Part):
    name: str | None = None
    slo: list[str] | None = None
    goodput: list[str] | None = None
    classes: list[_Class] | None = None
    load: _Load | None = None
    cache_share: Number | None = None


class _Target(Part):
    kind: str | None = None
    url: str | None = None


class _Health(Part):
    kernel_stamps: bool | None = None
    missing_stamps: Count | None = None
    lag_p99_us: Number | None = None
    clock_step_us: Number | None = None
    dns_us: Number | None = None
    rate_limits: dict[str, Count] | None = None


class _Stall(Part):
    p99_s: Number | None = None


class _Warmed(Part):
    opened: Count
    connect_s: list[Number]
    tls_s: list[Number]


class _Shard(Part):
    shard: Count | None = None
    records: Count | None = None
    disk_error: str | None = None
    cpu_ratio: Number | None = None
    loop_stall: _Stall | None = None
    health: _Health | None = None
    warmed: _Warmed | None = None
    throttled_s: dict[str, Number] | None = None
    retries: dict[str, Count] | None = None


class _Offset(Part):
    uncertainty: Number | None = None


class _Budget(Part):
    max_cost_usd: Amount
    spent_usd: Amount
    reserved_usd: Amount
    kept_requests: Count
    broken: Count
    broken_usd: Amount
    largest_break_usd: Amount
    bound_usd: Amount
    bound_source: str | None


class _Rates(Part):
    input: Ticks
    cached: Ticks
    output: Ticks


class _PriceSource(Part):
    kind: Kind = Field(strict=False)
    source: str
    date: str
    note: str = ""


class _PriceSheet(Part):
    """What sheet_from_json takes."""

    model: str
    as_of: str
    base: _Rates
    long: _Rates | None = None
    low: _Rates | None = None
    high: _Rates | None = None
    threshold_tokens: Count | None = None
    threshold_inclusive: bool = True
    priority_multiplier: Amount | None = None
    batch_multiplier: Amount | None = None
    us_multiplier: Amount | None = None
    tool_ticks: dict[str, Ticks] | None = None
    source: _PriceSource


class Manifest(Part):
    """The keys that anything reads."""

    run_id: str | None = None
    scenario: _Scenario | None = None
    model: str | None = None
    target: _Target | None = None
    command: list[str] | None = None
    seed: int | None = None
    price_date: str | None = None
    mode: Literal["open", "closed"] = "open"
    rate_rps: Number | None = None
    users: Count | None = None
    trace: str | None = None
    tokenizer: str | None = None
    preamble_tokens: Count | None = None
    prompts: str | None = None
    duration_s: Seconds | None = None
    warmup_s: Seconds | None = None
    cooldown_s: Seconds | None = None
    schedule_hash: str | None = None
    planned_requests: Count | None = None
    slo: list[str] | None = None
    goodput: list[str] | None = None
    t0_utc: str | None = None
    elapsed_s: Seconds | None = None
    stopped_s: Seconds | None = None
    stopped_by_budget: bool | None = None
    stop_reason: str | None = None
    budget: _Budget | None = None
    price_sheet: _PriceSheet | None = None
    mean_in_flight: Number | None = None
    mean_in_flight_seen: Number | None = None
    interrupted: bool | None = None
    workers: Count | None = None
    missing_workers: list[Count] | None = None
    late_workers: Count | None = None
    clock_offsets_us: dict[str, _Offset] | None = None
    shards: dict[str, _Shard] | None = None
    notes: list[str] | None = None
    selfcheck: Selfcheck | None = None
    host: dict[str, str] | None = None
    versions: dict[str, str] | None = None

    @field_validator("scenario", "target", mode="before")
    @classmethod
    def _by_name(cls, found: Any, info: ValidationInfo) -> Any:
        """Older manifests have the name alone."""
        return {"kind" if info.field_name == "target" else "name": found} if isinstance(found, str) else found


def manifest_problems(found: dict[str, Any]) -> list[str]:
    """What keeps a manifest from being read, a sentence each; [] = nothing."""
    schema = found.get("schema", SCHEMA)
    if type(schema) is not int or schema != SCHEMA:
        return [f"schema: this servebench reads {SCHEMA}, not {schema!r}: use the version that wrote it"]
    try:
        Manifest.model_validate(found)
        Objectives.of(found)
    except ValidationError as error:
        return [f"{sentence(item)}; {PUT_BACK}" for item in error.errors(include_url=False)]
    except UsageError as error:
        return list(error.problems)
    return []


def sentence(item: "ErrorDetails") -> str:
    """One of pydantic's complaints: the place, what should stand there, and what does."""
    place = ".".join(map(str, item["loc"]))
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] in ("value_error", "missing"):
        return f"{place}: {message[:1].lower()}{message[1:]}"
    shown = repr(item["input"])
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return f"{place}: {message[:1].lower()}{message[1:]}, not {shown}"
