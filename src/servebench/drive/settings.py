"""RunSettings: everything one run needs, as one JSON-able value. The master ships it to each worker as it is.

No secret is in it: keys are read from the environment by the process that sends.
"""

from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import TICKS_PER_USD, PriceSheet
from servebench.catalog.sheet_json import sheet_from_json
from servebench.cost.bound import Bounds, bound_terms
from servebench.drive.retries import On429, RetryRules
from servebench.errors import UsageError
from servebench.results.facts import Objectives
from servebench.workload.plan import WorkloadPlan


class RunSettings(BaseModel):
    """One run: the workload, the target, where the results go, and the limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: WorkloadPlan
    target_url: str
    target_kind: Literal["mock", "xai", "other"]
    time_scale: float | None = None  # engine seconds per real second, where the target is a mock by URL
    price_date: str | None = None  # of the price sheet that computes the bill
    run_dir: str
    run_id: str
    slo: tuple[str, ...] = ()
    goodput: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    junit: str | None = None
    markdown: str | None = None
    print_json: bool = False
    quiet: bool = False
    metrics_port: int | None = Field(default=0, ge=0, le=65535)  # 0: any free port; None: no endpoint
    cooldown_s: float = Field(default=0.0, ge=0)  # at the end of the arrivals, kept out of percentiles
    max_in_flight: int = Field(default=10_000, gt=0)
    grace_s: float = Field(default=30.0, ge=0)  # wait for what is in flight once arrivals have ended
    connect_timeout_s: float = Field(default=10.0, gt=0)
    first_byte_timeout_s: float = Field(default=600.0, gt=0)
    idle_timeout_s: float = Field(default=60.0, gt=0)
    max_cost_usd: str | None = None  # exact decimal text
    max_reasoning_tokens: int | None = Field(default=None, ge=0)  # of a request, for its bound
    price_sheet: dict[str, Any] | None = None  # sheet_json's form; None: no price is known
    retries: int = Field(default=0, ge=0, le=20)
    on_429: On429 = "respect"
    warm_connections: int = Field(default=0, ge=0, le=10_000)
    ca_file: str | None = None
    notes: tuple[str, ...] = ()  # what was found before the start, for the summary
    # plain `locust` keeps Locust's own exit codes; `servebench run` uses DESIGN's
    own_exit_codes: bool = True

    @field_validator("max_cost_usd")
    @classmethod
    def _an_amount(cls, text: str | None) -> str | None:
        try:
            if text is not None and not 0 < Decimal(text) < 10**9:
                raise ValueError(f"max_cost_usd is {text}: a budget is above 0")
        except InvalidOperation:
            raise ValueError(f"max_cost_usd is {text!r}: give an amount in USD, as 5 or 0.25") from None
        return text

    @property
    def max_cost_ticks(self) -> int | None:
        return None if self.max_cost_usd is None else int(Decimal(self.max_cost_usd) * TICKS_PER_USD)

    @property
    def sheet(self) -> PriceSheet | None:
        return None if self.price_sheet is None else sheet_from_json(self.price_sheet)

    def rules(self) -> RetryRules:
        return RetryRules(self.retries, self.on_429)

    def bounds(self) -> Bounds | None:
        """What a request may cost at most; None without a price."""
        sheet = self.sheet
        if sheet is None:
            return None
        try:
            tier = load_catalog().tier(self.plan.model or self.plan.scenario.model)
        except UsageError:
            tier = None
        terms = bound_terms(
            tier,
            bytes_per_token=self.plan.bytes_per_token,
            preamble_tokens=self.plan.preamble_tokens,
            max_reasoning_tokens=self.max_reasoning_tokens,
        )
        return Bounds(sheet, terms)

    def objectives(self) -> Objectives:
        """What the run is held to. Raises UsageError with every bad text."""
        scenario = self.plan.scenario.model_dump(mode="json")
        return Objectives.of({"scenario": scenario, "slo": self.slo, "goodput": self.goodput})
