"""What a dry run shows on a terminal: when, how much, how many dollars at most."""

from decimal import Decimal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from servebench.export import figures
from servebench.plan.forecast import ALL, CLOSED_SAMPLE, Forecast, TraceForecast

_BAR = 40
_CACHE_APART = 0.05
_PIPED_COLUMNS = 160


def print_forecasts(forecasts: list[Forecast], *, budget_usd: Decimal | None = None) -> None:
    """One after the other, then the sum of several. budget_usd: --max-cost, each run's own."""
    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=_PIPED_COLUMNS)
    for number, one in enumerate(forecasts):
        if number:
            out.print()
        print_forecast(one, out)
        worst_usd = one.classes[ALL].worst_usd
        if budget_usd is not None and worst_usd is not None and one.mode == "open":
            covers = "covers the run at its worst" if Decimal(worst_usd) <= budget_usd else "may stop the run"
            out.print(f"--max-cost {figures.dollars(budget_usd)} {covers}")
    if len(forecasts) > 1:
        worst = [one.classes[ALL].worst_usd for one in forecasts]
        total = None if None in worst else sum(map(Decimal, filter(None, worst)), Decimal(0))
        out.print(f"\nall {len(forecasts)} models: at most {figures.dollars(total)}")


def print_forecast(one: Forecast, out: Console) -> None:
    whole = one.classes[ALL]
    out.print(Text(f"{one.scenario} on {one.model}: nothing was sent", style="bold"))
    when = f"{one.duration_s:g} s of arrivals ({one.warmup_s:g} s of them warm-up)"
    if one.mode == "open":
        calls = f", {whole.requests:,} calls" if whole.requests != whole.arrivals else ""
        out.print(
            f"open loop, seed {one.seed}: {whole.arrivals:,} arrivals{calls} in {when}, "
            f"{figures.rate(one.mean_rps)}/s, {figures.rate(one.peak_rps)} in the busiest second"
        )
        out.print(_burstiness(one), soft_wrap=True)
        if one.trace is not None:
            _print_trace(one.trace, whole.arrivals, out)
        out.print(_over_time(one))
    else:
        out.print(
            f"closed loop, seed {one.seed}: {one.users} users, each in turn, for {when}. How many requests "
            f"follows from the server; the figures are of the first {CLOSED_SAMPLE:,}"
        )
    out.print(_prompts(one))
    out.print(_outputs(one))
    out.print(_dollars(one))
    for line in _endings(one):
        out.print(line, soft_wrap=True)


def _burstiness(one: Forecast) -> str:
    told = [(window_s, index) for window_s, index in one.dispersion if index is not None]
    gaps = "too few gaps for a CV" if one.gap_cv is None else f"CV of the gaps {one.gap_cv:.3g}"
    if not told:
        return f"{gaps} (of a Poisson process 1)"
    indices = ", ".join(f"{index:.3g}" for _, index in told)
    windows = ", ".join(f"{window_s:g}" for window_s, _ in told)
    return f"{gaps}, variance over mean of the counts in {windows} s {indices} (of a Poisson process 1 each)"


def _print_trace(trace: TraceForecast, requests: int, out: Console) -> None:
    """The trace by its own lengths: those that are sent follow, raised to what preamble and tools take."""
    left_out = f", without the {trace.skipped:,} rows of its file that failed" if trace.skipped else ""
    out.print(Text(f"trace {trace.name}{left_out}"), soft_wrap=True)
    table = _table("", "mean", "p50", "p90", "p99", "max", "came before")
    for name, tokens in (("input tokens", trace.input_tokens), ("output tokens", trace.output_tokens)):
        counts = (tokens.p50, tokens.p90, tokens.p99, tokens.max)
        before = figures.NOTHING
        if name == "input tokens" and trace.cache_share is not None:
            before = f"{trace.cache_share:.1%} in blocks of {trace.block_tokens}"
        table.add_row(name, f"{tokens.sum / max(requests, 1):,.1f}", *(f"{n:,}" for n in counts), before)
    out.print(table)


def _over_time(one: Forecast) -> Table:
    table = _table("from", "to", "arrivals/s", "prompt tokens/s", "")
    most = max((row[2] for row in one.rate_bins), default=0.0)
    for start_s, end_s, rps, tokens in one.rate_bins:
        bar = "#" * round(_BAR * rps / most) if most else ""
        cells = (f"{start_s:.4g} s", f"{end_s:.4g} s", figures.rate(rps), figures.count(tokens))
        table.add_row(*cells, Text(bar, style="cyan"))
    table.columns[-1].justify = "left"
    return table


def _prompts(one: Forecast) -> Table:
    table = _table("class", "requests", "prompt p50", "p90", "p99", "max", "sum", "cached")
    for name, row in one.classes.items():
        prompt = row.prompt_tokens
        table.add_row(
            Text(name),
            figures.count(row.requests),
            *(figures.count(v) for v in (prompt.p50, prompt.p90, prompt.p99, prompt.max, prompt.sum)),
            figures.share(round(row.cache_share, 3)),
        )
    return table


def _outputs(one: Forecast) -> Table:
    table = _table("class", "output p50", "p90", "p99", "max", "sum", "body p50", "bodies")
    for name, row in one.classes.items():
        output, size = row.output_tokens, row.body_bytes
        table.add_row(
            Text(name),
            *(figures.count(v) for v in (output.p50, output.p90, output.p99, output.max, output.sum)),
            _bytes(size.p50),
            _bytes(size.sum),
        )
    return table


def _dollars(one: Forecast) -> Table:
    table = _table("class", "likely", "at most", "reasoning taken to be at most")
    for name, row in one.classes.items():
        bound = one.reasoning_bound_tokens.get(name)
        table.add_row(
            Text(name),
            figures.dollars(row.likely_usd),
            figures.dollars(row.worst_usd),
            figures.NOTHING if bound is None else f"{bound:,} tokens",
        )
    return table


def _endings(one: Forecast) -> list[str]:
    lines = []
    if one.price_date is None:
        lines.append(f"no price is known for {one.model}: no dollars")
    else:
        kind = " (MODELLED: nobody has published one)" if one.price_kind == "MODELLED" else ""
        stretch = f", prompts {one.prompt_stretch:.3g} times as long" if one.prompt_stretch > 1 else ""
        lines.append(
            f"at most: nothing cached, every limit reached, reasoning at its bound{stretch}, by the price of "
            f"{one.price_date}{kind}. No limit covers reasoning: its bound is {one.bound_source}. "
            "Likely: cached as intended, reasoning at its mean"
        )
    if one.classes[ALL].unlimited:
        lines.append(f"{one.classes[ALL].unlimited:,} requests set no limit: the model's own is counted")
    if one.stated_cache_share is not None:
        lines.append(f"the scenario means {one.stated_cache_share:.0%} of its prompt tokens to be cached")
        found = one.classes[ALL].cache_share
        if one.mode == "open" and abs(found - one.stated_cache_share) > _CACHE_APART:
            lines.append(
                f"note: {found:.0%} of this run's can be, in an ideal cache: a short run looks at much for "
                "the first time, else set cache_share anew"
            )
    lines += [f"note: {note}" for note in one.notes]
    lines.append(f"schedule hash: {one.schedule_hash}")
    return lines


def _bytes(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} B"


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="left" if position == 0 else "right", no_wrap=True)
    return table
