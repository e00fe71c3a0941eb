"""`servebench run --dry-run`: everything is read and checked, nothing is started, contacted or written."""

import dataclasses
import json
from contextlib import suppress

from servebench.catalog.load import load_catalog
from servebench.catalog.tiers import Tier
from servebench.cost.bound import Bounds, bound_terms
from servebench.drive import targets
from servebench.drive.pricing import price_sheet
from servebench.drive.start import RunRequest, checked_plan, tiers_of
from servebench.errors import UsageError
from servebench.export.forecast_table import print_forecasts
from servebench.plan.forecast import Forecast, forecast


def dry_run(request: RunRequest) -> int:
    """Print the forecast (of each tier, of a scenario with several) and return 0. Raises UsageError."""
    models = tiers_of(request) or (request.model,)
    forecasts = [_of(dataclasses.replace(request, model=model)) for model in models]
    if request.print_json:
        shown = [one.to_json() for one in forecasts]
        print(json.dumps(shown[0] if len(shown) == 1 else {"schema": 1, "models": shown}, indent=2))
    else:
        print_forecasts(forecasts, budget_usd=request.max_cost_usd)
    return 0


def _of(request: RunRequest) -> Forecast:
    plan, model = checked_plan(request)
    tier: Tier | None = None
    with suppress(UsageError):  # a model that the catalog does not know: said in the forecast
        tier = load_catalog().tier(model)
    url = "" if request.target == "mock" else targets.resolved(request.target)
    sheet = price_sheet(model, url, spec=request.price_sheet)
    terms = bound_terms(
        tier,
        bytes_per_token=plan.bytes_per_token,
        preamble_tokens=plan.preamble_tokens,
        max_reasoning_tokens=request.max_reasoning_tokens,
    )
    bounds = None if sheet is None else Bounds(sheet, terms)
    return forecast(plan.build(), tier=tier, bounds=bounds, retries=request.retries)
