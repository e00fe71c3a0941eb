"""What a run's dollars, budget, waits and connections came to, as sentences, for terminal and page."""

from collections.abc import Iterator

from servebench.export import figures
from servebench.results.class_summary import ClassSummary
from servebench.results.network import Network
from servebench.results.summary import ALL, Summary

_KINDS = (("input", "in"), ("cached_input", "cached"), ("output", "out"), ("blended", "blended"))


def money_lines(summary: Summary) -> list[str]:
    """In order; a line that would say nothing is left out."""
    lines = [*_bill(summary.classes[ALL]), *_budget(summary)]
    if summary.network is not None:
        lines += [*_waits(summary.network), *_connections(summary.network)]
    return lines


def _bill(everything: ClassSummary) -> Iterator[str]:
    cost = everything.cost
    if not cost.usd:
        return
    prices = cost.per_mtok_usd(everything.tokens)
    shown = ", ".join(f"{figures.dollars(prices[kind])} {name}" for kind, name in _KINDS if prices[kind])
    yield f"per million tokens as paid: {shown}"
    each = f"per request {figures.dollars(cost.per_request_usd)}"
    if cost.per_good_request_usd is not None:
        each += f", per good request {figures.dollars(cost.per_good_request_usd)}"
    said = ", ".join(
        f"{count} {source} {figures.dollars(cost.by_source_usd[source])}"
        for source, count in cost.sources.items()
    )
    yield f"{each}; bills: {said}"
    if cost.checked:
        agree = "all agree with the price sheet" if not cost.differing else f"{cost.differing} differ"
        yield f"{cost.checked} bills of the server checked against usage and prices: {agree}"
    wasted = {
        "failed": "failed requests",
        "censored": "cut off by the run's end",
        "retries": "attempts before the last",
        "slo_miss": "answers that missed a limit",
    }
    spent = [
        f"{figures.dollars(cost.wasted[key])} {name}" for key, name in wasted.items() if cost.wasted[key]
    ]
    if spent:
        yield f"wasted: {', '.join(spent)}"


def _budget(summary: Summary) -> Iterator[str]:
    budget = summary.budget
    if budget is None:
        return
    yield (
        f"budget {figures.dollars(budget['max_cost_usd'])}: {figures.dollars(budget['spent_usd'])} spent, "
        f"{figures.dollars(budget['reserved_usd'])} reserved for {budget['kept_requests']} bills that never "
        f"came; bound of a request at most {figures.dollars(budget['bound_usd'])} ({budget['bound_source']})"
    )
    if budget["broken"]:
        yield (
            f"{budget['broken']} requests broke their bound, by {figures.dollars(budget['broken_usd'])} in "
            f"all, at most {figures.dollars(budget['largest_break_usd'])} each"
        )


def _waits(network: Network) -> Iterator[str]:
    if network.retries:
        said = ", ".join(f"{count} for {reason}" for reason, count in network.retries.items())
        yield f"sent again: {said}"
    if network.throttled_s:
        said = ", ".join(
            f"{figures.duration(seconds)} for {reason}" for reason, seconds in network.throttled_s.items()
        )
        yield f"waited by rule, apart from latency: {network.throttled} requests, {said}"


def _connections(network: Network) -> Iterator[str]:
    parts = []
    if network.dns_s is not None and network.dns_s > 0.001:  # an address needs no look-up
        parts.append(f"DNS {figures.duration(network.dns_s)}")
    for name, values in (("connect", network.connect_s), ("TLS", network.tls_s)):
        if values.n and values.mean is not None:
            parts.append(f"{name} {figures.duration(values.mean)} on average ({values.n})")
    if network.warmed:
        parts.append(f"{network.warmed} opened before the load")
    if parts:
        yield f"connections: {', '.join(parts)}"
    server = network.server_ttft_s
    if server.n and server.mean is not None:
        yield f"the server's own TTFT: {figures.duration(server.mean)} on average of {server.n} answers"
