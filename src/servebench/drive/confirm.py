"""Before a run that costs real money: the worst it may cost, and a question."""

import ipaddress
import sys
from decimal import Decimal
from urllib.parse import urlsplit

import numpy as np

from servebench.cost.bill import usd_text
from servebench.cost.bound import Bounds
from servebench.drive.settings import RunSettings
from servebench.errors import ServebenchError, UsageError
from servebench.workload.plan import Workload
from servebench.workload.planned import planned


class DeclinedError(ServebenchError):
    """The user said no: nothing was started."""


def is_paid(settings: RunSettings) -> bool:
    """Whether requests cost somebody money: a price is known, and the target is neither a mock nor on this
    machine.
    """
    if settings.target_kind == "mock" or is_loopback(settings.target_url):
        return False
    return settings.target_kind == "xai" or settings.price_sheet is not None


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def worst_case_ticks(workload: Workload, bounds: Bounds, *, retries: int = 0) -> int | None:
    """The bounds of all planned requests, each sent as often as it may be; None for a closed loop, which has
    no number of requests.
    """
    if workload.mode != "open":
        return None
    rows = planned(workload)
    classes = workload.classes
    reasoning = np.array([bounds.reasoning_tokens(cls.reasoning_effort) for cls in classes])
    tools = np.array([bool(cls.tools) for cls in classes])
    ticks = bounds.of_many(
        rows.prompt_tokens, rows.output_tokens, reasoning[rows.class_index], tools=tools[rows.class_index]
    )
    return int(ticks.sum()) * (1 + retries)


def largest_bound_ticks(workload: Workload, bounds: Bounds) -> int:
    """Of a sample of the first requests, the dearest: a budget below it is over before it begins."""
    count = min(len(workload.intended_ns), 1000) if workload.mode == "open" else 1000
    ids = range(count) if workload.mode == "open" else range(min(count, 200))
    return max((_bound(workload, bounds, id) for id in ids), default=0)


def _bound(workload: Workload, bounds: Bounds, id: int) -> int:
    spec = workload.spec(id)
    bound = bounds.of(
        prompt_tokens=spec.prompt_tokens,
        output_tokens=spec.output_tokens,
        effort=spec.reasoning_effort,
        tools=bool(spec.tool_names),
    )
    return bound.ticks


def check_budget(settings: RunSettings, workload: Workload) -> None:
    """Raises UsageError for a budget without a price, or too small for one request."""
    if settings.max_cost_ticks is None:
        return
    bounds = settings.bounds()
    if bounds is None:
        raise UsageError(
            f"--max-cost needs a price, and none is known of {workload.model!r}: "
            "give --price-sheet FILE|MODEL"
        )
    first = _bound(workload, bounds, 0) if workload.mode == "closed" or len(workload.intended_ns) else 0
    if first > settings.max_cost_ticks:
        raise UsageError(
            f"--max-cost ${settings.max_cost_usd} does not hold one request, which may cost "
            f"${usd_text(first)}: raise it, or lower the bound (--max-reasoning-tokens, output limits)"
        )


def confirm(settings: RunSettings, workload: Workload, *, yes: bool) -> None:
    """Ask before a paid run. Raises UsageError where nobody can be asked, DeclinedError on a no."""
    if not is_paid(settings) or yes:
        return
    costs = _costs(settings, workload)
    if not sys.stdin.isatty():
        raise UsageError(
            f"a run at {settings.target_url} costs money ({costs}) and there is no terminal to ask on: give "
            "--yes to start it, and --max-cost USD to bound it"
        )
    sheet = settings.sheet
    priced = "no known price" if sheet is None else f"prices as of {sheet.as_of} ({sheet.source.source})"
    sys.stderr.write(
        f"This run costs money.\n  target  {settings.target_url}\n  model   {workload.model}, {priced}\n"
        f"  cost    {costs}\nGo on? [y/N] "
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise DeclinedError("not started")


def _costs(settings: RunSettings, workload: Workload) -> str:
    bounds = settings.bounds()
    worst = None if bounds is None else worst_case_ticks(workload, bounds, retries=settings.retries)
    if settings.max_cost_usd is not None:
        most = f"at most ${settings.max_cost_usd} by --max-cost"
    elif worst is None:
        most = "without any bound: --max-cost USD sets one"
    else:
        most = f"at most ${_cents(worst)} if every request reaches its bound"
    if worst is None or bounds is None:
        return most
    requests = len(planned(workload))
    own = (
        f"; the worst case of its {requests:,} requests is ${_cents(worst)}" if settings.max_cost_usd else ""
    )
    return f"{most}{own}, with {bounds.terms.source}"


def _cents(ticks: int) -> str:
    return f"{Decimal(usd_text(ticks)):,.2f}"
