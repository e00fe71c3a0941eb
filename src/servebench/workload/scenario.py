"""Scenario: what a scenario file says, checked; and where scenario files are found."""

import difflib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from servebench.errors import UsageError
from servebench.workload.bursts import Bursts
from servebench.workload.client_mix import ClientMix
from servebench.workload.lengths import DISTRIBUTIONS
from servebench.workload.load import Load, load_problems
from servebench.workload.request_class import RequestClass, SharedPrefix, tool_problems
from servebench.workload.scenario_problems import (
    InconsistentError,
    Problem,
    problem_line,
    read_yaml,
    validation_lines,
)
from servebench.workload.sessions import SessionShape
from servebench.workload.shapes import SHAPES, Stage

DEFAULT_MODEL = "grok-4.3"
_SHIPPED = resources.files("servebench.workload") / "scenarios"


class Scenario(BaseModel):
    """Classes of requests and how they start. tiers: the models to run the same workload over, side by side,
    in place of model alone. prompts: a file or directory of texts to send in place of made ones, beside the
    scenario's file. cache_share: of its prompt tokens those that are meant to hit, as planned.py counts them.
    warmup_s None: 0 for traces and runs under 60 s, else 10 %.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.\-]+$")
    description: str = ""
    model: str = Field(default=DEFAULT_MODEL, min_length=1)
    tiers: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    prompts: str | None = Field(default=None, min_length=1)
    load: Load
    cache_share: float | None = Field(default=None, ge=0, le=1)
    warmup_s: float | None = Field(default=None, ge=0)
    classes: tuple[RequestClass, ...] = Field(min_length=1)
    slo: tuple[str, ...] = ()
    goodput: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _classes_fit(self) -> Self:
        if problems := _together(self.model_dump()):
            raise InconsistentError(problems)
        return self


_KEYS: dict[str, list[str]] = {
    "": list(Scenario.model_fields),
    "load": list(Load.model_fields),
    "classes": list(RequestClass.model_fields),
    "shared_prefix": list(SharedPrefix.model_fields),
    "session": list(SessionShape.model_fields),
    "bursts": list(Bursts.model_fields),
    "clients": list(ClientMix.model_fields),
    "stages": list(Stage.model_fields),
    **{tag: list(shape.model_fields) for tag, shape in SHAPES.items() if tag != "stages"},
    **{tag: list(dist.model_fields) for tag, dist in DISTRIBUTIONS.items()},
}


def scenario_names() -> list[str]:
    """The names of the shipped scenarios, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in _SHIPPED.iterdir() if entry.name.endswith(".yaml")
    )


def scenario_text(name: str) -> str:
    """The file of a shipped scenario, comments and all. UsageError listing the names where there is none."""
    if name.replace("-", "_") not in scenario_names():
        known = ", ".join(scenario_names())
        raise UsageError(f"no shipped scenario {name!r}: the shipped ones are {known}{_near(name)}")
    return _read(name)[0]


def load_scenario(name_or_path: str | Path) -> Scenario:
    """A shipped scenario by name, or a file by path. UsageError with every problem of the file at once.

    A relative path of prompts is taken from where the file lies.
    """
    text, place = _read(name_or_path)
    scenario = parse_scenario(text, place)
    if scenario.prompts is None:
        return scenario
    return scenario.model_copy(update={"prompts": str(Path(place).parent / scenario.prompts)})


def parse_scenario(text: str, place: str) -> Scenario:
    """A scenario from YAML text; place names it in errors."""
    raw = read_yaml(text, place)
    try:
        return Scenario.model_validate(raw)
    except ValidationError as error:
        lines = [*validation_lines(error, _KEYS), *_unreached(raw)]
        raise UsageError(*(f"{place}: {line}" for line in dict.fromkeys(lines))) from None


def _together(raw: Mapping[str, Any]) -> list[Problem]:
    """What does not fit together across a scenario, checked or still as the file has it."""
    classes, load, warmup_s = raw.get("classes"), raw.get("load"), raw.get("warmup_s")
    rows = [row for row in classes if isinstance(row, dict)] if isinstance(classes, list | tuple) else []
    names = [str(row["name"]) for row in rows if row.get("name") is not None]
    problems: list[Problem] = [
        ("classes", f"the name {name!r} stands there {names.count(name)} times")
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if "all" in names:
        problems.append(("classes", "the name 'all' is kept for the sum of all classes"))
    if raw.get("prompts") is not None and any(row.get("session") is not None for row in rows):
        problems.append(("prompts", "are single requests: a class with a session makes its own"))
    weights = [row.get("weight", 1) for row in rows]
    if rows and all(_is_number(weight) and weight == 0 for weight in weights):
        problems.append(("classes", "the weights sum to 0: nothing would be sent"))
    duration_s = load.get("duration_s") if isinstance(load, dict) else None
    if _is_number(duration_s) and _is_number(warmup_s) and warmup_s >= duration_s > 0:
        problems.append(("warmup_s", f"must be < duration_s {duration_s:g}, got {warmup_s:g}"))
    return problems


def _unreached(raw: Mapping[str, Any]) -> Iterator[str]:
    """The checks that validation skips in a mapping with a wrong field, so that all errors come at once."""
    for sub, text in _together(raw):
        yield problem_line("", sub, text)
    if isinstance(load := raw.get("load"), dict):
        yield from (problem_line("load", sub, text) for sub, text in load_problems(load))
    if isinstance(classes := raw.get("classes"), list):
        for k, row in enumerate(classes):
            if isinstance(row, dict):
                yield from (problem_line(f"classes[{k}]", sub, text) for sub, text in tool_problems(row))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read(name_or_path: str | Path) -> tuple[str, str]:
    shipped = str(name_or_path).replace("-", "_")
    if shipped in scenario_names():
        return (_SHIPPED / f"{shipped}.yaml").read_text(encoding="utf-8"), f"{shipped}.yaml"
    path = Path(name_or_path)
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except FileNotFoundError:
        raise UsageError(
            f"no scenario {str(name_or_path)!r}: there is no such file, "
            f"and the shipped scenarios are {', '.join(scenario_names())}{_near(shipped)}"
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, scenario_names(), 1)
    return f" (did you mean {near[0]}?)" if near else ""
