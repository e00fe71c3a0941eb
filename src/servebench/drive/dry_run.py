"""`servebench run --dry-run`: everything is read and checked, nothing is started, contacted or written."""

import dataclasses
import json

from servebench.catalog.load import load_catalog
from servebench.catalog.prices import PriceSheet
from servebench.catalog.tiers import Tier
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
        print_forecasts(forecasts)
    return 0


def _of(request: RunRequest) -> Forecast:
    plan, model = checked_plan(request)
    catalog = load_catalog()
    tier: Tier | None = None
    sheet: PriceSheet | None = None
    try:
        tier = catalog.tier(model)
        sheet = catalog.price(model)
    except UsageError:
        pass  # a model that the catalog does not know, or without a price: said in the forecast
    return forecast(plan.build(), tier=tier, sheet=sheet)
