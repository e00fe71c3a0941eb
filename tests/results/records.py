"""Any record that the meter may leave, for property tests."""

from array import array

from hypothesis import strategies as st

from servebench.meter.record import Outcome, RequestRecord
from tests.results.made_run import Made


@st.composite
def ended(draw: st.DrawFn, number: int) -> "tuple[RequestRecord, array[int]]":
    intended = draw(st.integers(0, 60_000_000_000))
    sent = draw(st.none() | st.integers(0, 50_000_000).map(lambda lag: intended + lag))
    gaps_us = draw(st.lists(st.integers(0, 2_000_000), max_size=6)) if sent is not None else []
    first = last = visible = None
    if sent is not None and gaps_us:
        first, last = sent + gaps_us[0] * 1000, sent + sum(gaps_us) * 1000
        visible = draw(st.none() | st.sampled_from([first, last]))
    outcome = draw(st.sampled_from(Outcome)) if sent is not None else Outcome.UNSENT
    tokens = st.none() | st.integers(0, 5_000)
    prompt = draw(tokens)
    record = RequestRecord(
        id=number,
        class_name=draw(st.sampled_from(["chat", "code"])),
        session=None,
        turn=0,
        model="grok-4.3",
        intended_ns=intended,
        sent_ns=sent,
        first_token_ns=first,
        first_visible_ns=visible,
        last_token_ns=last,
        end_ns=max(last or 0, intended) + 1000,
        outcome=outcome,
        prompt_tokens=prompt,
        cached_tokens=None if prompt is None else draw(st.integers(0, prompt)),
        completion_tokens=draw(tokens),
        reasoning_tokens=draw(tokens),
        usage_source=draw(st.sampled_from(["usage", "counted", "none"])),
        chunks=len(gaps_us),
        reasoning_chunks=draw(st.integers(0, len(gaps_us))),
        coalesced=draw(st.integers(0, len(gaps_us))),
    )
    return record, array("i", gaps_us)


@st.composite
def made_runs(draw: st.DrawFn, max_size: int = 25) -> Made:
    return [draw(ended(number)) for number in range(draw(st.integers(0, max_size)))]
