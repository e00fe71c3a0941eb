"""The bill of one answer, in ticks. Written apart from the client's bill, so that the two check each other.

ticks = (prompt - cached) * input + cached * cached_input + (completion + reasoning) * output
(the long-context rates for all of it once the prompt reaches the threshold), times the priority multiplier
"""

from servebench.catalog.prices import PriceSheet


def billed_ticks(
    sheet: PriceSheet,
    *,
    prompt_tokens: int,
    cached_tokens: int,
    output_tokens: int,
    priority: bool,
) -> int:
    """output_tokens: completion and reasoning. Raises ArithmeticError if a multiplier leaves a fraction."""
    rates, _ = sheet.rates_for(prompt_tokens)
    ticks = (
        (prompt_tokens - cached_tokens) * rates.input_ticks
        + cached_tokens * rates.cached_ticks
        + output_tokens * rates.output_ticks
    )
    if not priority or sheet.priority_multiplier is None:
        return ticks
    numerator, denominator = sheet.priority_multiplier.as_integer_ratio()
    whole, rest = divmod(ticks * numerator, denominator)
    if rest:
        raise ArithmeticError(
            f"{sheet.model}: {ticks} ticks x {sheet.priority_multiplier} is no whole number"
        )
    return whole
