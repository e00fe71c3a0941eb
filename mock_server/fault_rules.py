"""The faults document: what goes wrong, for whom, when, how often. `--faults FILE`, POST /admin/config.

It holds `seed`, `faults` (rules), `limits` and `queue_limit`, each optional; docs/MOCK.md has examples.
Nothing here happens: faults.py decides by request, faulty_transport.py does it to the bytes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mock_server.limit_tiers import Limit, limits_of
from servebench.catalog.yaml_file import parse_mapping, sentences
from servebench.errors import UsageError

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Events = Annotated[int, Field(ge=0, le=10_000_000)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Rule(_Row):
    """Which requests: a share of them (rate), of these models and keys, in a window of real seconds since the
    document took effect. keys: ids, the first 8 hex digits of a key's SHA-256. stream: only those that do, or
    don't."""

    kind: str
    rate: float = Field(default=1.0, ge=0, le=1)
    models: tuple[str, ...] = ()
    keys: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")], ...] = ()
    stream: bool | None = None
    from_s: Seconds = 0.0
    until_s: Seconds | None = None

    @model_validator(mode="after")
    def _window_is_open(self) -> Self:
        if self.until_s is not None and self.until_s <= self.from_s:
            raise ValueError(f"until_s: {self.until_s:g} is not after from_s, {self.from_s:g}")
        return self


class Status(Rule):
    """An HTTP error in place of the answer; without code and error, the body that xAI has for the status."""

    kind: Literal["status"]
    status: int = Field(ge=400, le=599)
    code: str | None = None
    error: str | None = None
    retry_after_s: int | None = Field(default=None, ge=0, le=86_400)


class ColdStart(Rule):
    """503 for the first for_s seconds of the window: a replica that loads its weights."""

    kind: Literal["cold_start"]
    for_s: Seconds


class SlowTtft(Rule):
    """The first byte this much later than the engine made it."""

    kind: Literal["slow_ttft"]
    delay_s: Seconds


class Stall(Rule):
    """Silence in mid-answer; what was made meanwhile follows at once."""

    kind: Literal["stall"]
    after_events: Events = 1
    for_s: Seconds


class Break(Rule):
    """Behind so many events the connection ends, by FIN (cut), by RST (reset) or after an HTTP chunk whose
    size is none (malformed_chunk: of streams alone); or one event's JSON breaks off, and the answer goes on
    (malformed_event). after_events 0: before the first byte. A whole answer breaks in its body."""

    kind: Literal["cut", "reset", "malformed_event", "malformed_chunk"]
    after_events: Events = 1


class ErrorEvent(Rule):
    """An error inside a 200: an event with xAI's error body, and the end; the body of a whole answer."""

    kind: Literal["error_event"]
    after_events: Events = 1
    code: str = "internal"
    error: str = "The stream failed on the server."


class Omission(Rule):
    """No usage; no finish_reason, nor the event that ends a response; a stream without data: [DONE]."""

    kind: Literal["no_usage", "no_finish", "no_done"]


class WrongUsage(Rule):
    """Output and total tokens of usage times factor; the bill stays true."""

    kind: Literal["wrong_usage"]
    factor: float = Field(ge=0, le=1000)

    @model_validator(mode="after")
    def _is_wrong(self) -> Self:
        if self.factor == 1:
            raise ValueError("factor: 1 would leave the counts right")
        return self


class ReplicaCrash(Rule):
    """A replica drops its sequences and cache, and is gone for down_s: `replica`, once, at at_s; without at_s
    that of each request that the rule chooses, when the engine has it."""

    kind: Literal["replica_crash"]
    down_s: Seconds
    at_s: Seconds | None = None
    replica: int = Field(default=0, ge=0)


_Rules = Status | ColdStart | SlowTtft | Stall | Break | ErrorEvent | Omission | WrongUsage | ReplicaCrash
AnyRule = Annotated[_Rules, Field(discriminator="kind")]
KINDS = tuple(kind for rule in get_args(_Rules) for kind in get_args(rule.model_fields["kind"].annotation))


class Limits(_Row):
    """A tier of xAI's page, or one's own figures for every model."""

    tier: Literal["T0", "T1", "T2", "T3", "T4", "none"] | None = None
    requests_per_s: float | None = Field(default=None, gt=0, le=1e6)
    tokens_per_min: int | None = Field(default=None, ge=1, le=10**12)

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        own = self.requests_per_s, self.tokens_per_min
        if (self.tier is None) == (own == (None, None)):
            raise ValueError("give tier, or requests_per_s and tokens_per_min")
        if self.tier is None and None in own:
            raise ValueError("requests_per_s and tokens_per_min go together")
        return self

    def by_model(self) -> dict[str, Limit] | None:
        """None: none is enforced."""
        if self.tier == "none":
            return None
        if self.tier is not None:
            return limits_of(self.tier)
        assert self.requests_per_s is not None
        assert self.tokens_per_min is not None
        per_min = round(self.requests_per_s * 60)
        return {"": Limit(self.requests_per_s, per_min, self.tokens_per_min)}


class MockConfig(_Row):
    """What may change while the mock runs. seed None: the server's."""

    seed: int | None = None
    faults: tuple[AnyRule, ...] = Field(default=(), max_length=100)
    limits: Limits = Limits(tier="none")
    queue_limit: int | None = Field(default=None, ge=0)


def parse_config(name: str, data: Mapping[str, Any], models: Mapping[str, int]) -> MockConfig:
    """models: replicas by the names that are served. Raises UsageError with every problem, place by place."""
    try:
        config = MockConfig.model_validate(data)
    except ValidationError as error:
        raise UsageError(*_sentences(name, error)) from None
    problems = []
    for index, rule in enumerate(config.faults):
        place = f"{name}: faults.{index}.{rule.kind}"
        unknown = sorted(set(rule.models) - set(models))
        if unknown:
            problems.append(
                f"{place}.models: {', '.join(unknown)} is not served here; served: {', '.join(models)}"
            )
        if isinstance(rule, ReplicaCrash) and rule.at_s is not None:
            most = max((models[model] for model in (rule.models or models) if model in models), default=0)
            if rule.replica >= most:
                problems.append(f"{place}.replica: no replica {rule.replica}, the last is {most - 1}")
    if problems:
        raise UsageError(*problems)
    return config


def read_config_file(path: Path, models: Mapping[str, int]) -> MockConfig:
    """Raises UsageError: unreadable, not YAML, or wrong in any place."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    return parse_config(str(path), parse_mapping(str(path), text), models)


def _sentences(name: str, error: ValidationError) -> list[str]:
    """pydantic names the kinds of a tagged union by their tags with quotes around; the rest is as it is."""
    return [line.replace("'", "") if "expected tags" in line else line for line in sentences(name, error)]
