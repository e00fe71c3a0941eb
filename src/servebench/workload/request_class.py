"""RequestClass: one kind of request: how often, how long, with which tools, effort and shared start."""

import difflib
from collections.abc import Mapping
from typing import Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from servebench.workload.lengths import Distribution
from servebench.workload.scenario_problems import InconsistentError, Problem
from servebench.workload.sessions import SessionShape
from servebench.workload.tools import TOOLS

# xAI's values for grok-4.3 (model page, docs.x.ai); unset leaves the server's default
Effort = Literal["none", "low", "medium", "high", "xhigh"]
TOOL_CHOICES = ("auto", "none", "required")


class SharedPrefix(BaseModel):
    """A start of the prompt that requests share: what a prefix cache can hit.

    share of the class's requests begin with one of `variants` texts, each as likely as the next; tokens is
    the length of a text, drawn once per variant.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    tokens: Distribution
    share: float = Field(default=1.0, ge=0, le=1)
    variants: int = Field(default=1, gt=0, le=1_000_000)


class RequestClass(BaseModel):
    """input_tokens is the whole prompt as it is billed: hidden preamble, tools and shared prefix included.

    With a session, weight and load count sessions and input_tokens is the first prompt of one.
    output_tokens is sent as max_completion_tokens; unset sends no limit. tools are names of the shipped set
    or OpenAI function schemas. slo and goodput are texts here; the results read them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.\-]+$")
    weight: float = Field(default=1.0, ge=0)
    input_tokens: Distribution
    output_tokens: Distribution | None = None
    reasoning_effort: Effort | None = None
    tools: tuple[str | dict[str, Any], ...] = ()
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    shared_prefix: SharedPrefix | None = None
    session: SessionShape | None = None
    slo: tuple[str, ...] = ()
    goodput: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _tools_fit(self) -> Self:
        if problems := tool_problems(vars(self)):
            raise InconsistentError(problems)
        return self

    @property
    def tool_schemas(self) -> tuple[dict[str, Any], ...]:
        return tuple(TOOLS[tool] if isinstance(tool, str) else tool for tool in self.tools)

    @property
    def tool_names(self) -> tuple[str, ...]:
        return tuple(str(schema["function"]["name"]) for schema in self.tool_schemas)


def tool_problems(cls: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with tools and tool_choice together, checked or still as the file has them."""
    tools, choice = cls.get("tools") or (), cls.get("tool_choice")
    if not isinstance(tools, list | tuple):
        return []
    problems: list[Problem] = []
    names: list[str] = []
    for k, tool in enumerate(tools):
        name = tool if isinstance(tool, str) else _schema_name(tool)
        if name is None:
            text = (
                "must be a shipped tool's name, or {type: function, function: {name: ..., parameters: ...}}"
            )
            problems.append((f"tools[{k}]", text))
        elif isinstance(tool, str) and tool not in TOOLS:
            near = difflib.get_close_matches(tool, TOOLS, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            problems.append(
                (f"tools[{k}]", f"unknown tool {tool!r}: the shipped ones are {', '.join(TOOLS)}{hint}")
            )
        else:
            names.append(name)
            if isinstance(tool, dict) and (fault := _unsendable(tool)):
                problems.append((f"tools[{k}]", f"cannot be sent as JSON: {fault}"))
    problems += [
        ("tools", f"{name} stands there twice") for name in sorted({n for n in names if names.count(n) > 1})
    ]
    for key in ("tool_choice", "parallel_tool_calls"):
        if cls.get(key) is not None and not tools:
            problems.append((key, "needs tools"))
    if choice is not None and not problems and choice not in (*TOOL_CHOICES, *names):
        problems.append(
            ("tool_choice", f"must be one of {', '.join((*TOOL_CHOICES, *names))}, got {choice!r}")
        )
    session = cls.get("session")
    if session is not None and not tools and not _is_one_call(session):
        problems.append(
            ("session", "calls_per_turn above 1 needs tools: a turn goes on with a tool's result")
        )
    if session is not None and choice is not None:
        problems.append(("tool_choice", "is set by the session, call by call"))
    return problems


def _is_one_call(session: Any) -> bool:
    calls = session.get("calls_per_turn") if isinstance(session, Mapping) else session.calls_per_turn
    return calls == 1 or getattr(calls, "value", None) == 1


def _unsendable(schema: dict[str, Any]) -> str:
    """What JSON has no word for, as a key that is a number."""
    try:
        orjson.dumps(schema)
    except TypeError as error:
        return str(error)
    return ""


def _schema_name(schema: Any) -> str | None:
    function = (
        schema.get("function") if isinstance(schema, dict) and schema.get("type") == "function" else None
    )
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) and name else None
