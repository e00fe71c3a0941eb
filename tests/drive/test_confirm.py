"""When a run asks before it spends, what it says, and which prices it goes by."""

import io
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from servebench.catalog.load import load_catalog
from servebench.catalog.sheet_json import sheet_from_json, sheet_to_json
from servebench.drive.confirm import (
    DeclinedError,
    check_budget,
    confirm,
    is_loopback,
    is_paid,
    worst_case_ticks,
)
from servebench.drive.options import build_plan
from servebench.drive.pricing import listed_sheet, price_note, price_sheet
from servebench.drive.settings import RunSettings
from servebench.errors import UsageError
from servebench.workload.scenario import load_scenario

QUICK = str(Path(__file__).parent / "quick.yaml")
XAI = "https://api.x.ai"


def settings(url: str = XAI, kind: str = "xai", **more: object) -> RunSettings:
    sheet = price_sheet("grok-4.3", url)
    assert sheet is not None
    return RunSettings.model_validate(
        {
            "plan": build_plan(load_scenario(QUICK), model="grok-4.3", seed=1), "target_url": url,
            "target_kind": kind, "run_dir": "r", "run_id": "r", "price_sheet": sheet_to_json(sheet), **more,
        }
    )  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_xai_and_priced_targets_elsewhere_cost_money() -> None:
    assert is_paid(settings())
    assert not is_paid(settings("http://127.0.0.1:8000", "other"))
    assert not is_paid(settings("http://127.0.0.1:8000", "mock"))
    assert is_paid(settings("https://gateway.example", "other"))
    assert not is_paid(settings("https://gateway.example", "other", price_sheet=None))
    assert is_loopback("http://localhost:1")
    assert is_loopback("http://[::1]:1")
    assert not is_loopback("https://127.0.0.1.evil.example")


def test_without_a_terminal_a_yes_is_wanted_and_the_worst_case_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    wanted = settings()
    workload = wanted.plan.build()
    with pytest.raises(UsageError, match=r"api\.x\.ai costs money \(at most \$0\.\d\d .*--yes") as caught:
        confirm(wanted, workload, yes=False)
    assert caught.value.exit_code == 2
    confirm(wanted, workload, yes=True)


@pytest.mark.parametrize(("said", "goes_on"), [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False)])
def test_on_a_terminal_it_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str, goes_on: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(said))
    wanted = settings(max_cost_usd="0.5")
    if goes_on:
        confirm(wanted, wanted.plan.build(), yes=False)
    else:
        with pytest.raises(DeclinedError):
            confirm(wanted, wanted.plan.build(), yes=False)
    shown = capsys.readouterr().err
    assert "at most $0.5 by --max-cost" in shown
    assert "the worst case of its" in shown
    assert "prices as of 20" in shown


def test_the_worst_case_is_the_sum_of_the_bounds() -> None:
    wanted = settings()
    workload, bounds = wanted.plan.build(), wanted.bounds()
    assert bounds is not None
    specs = [workload.spec(id) for id in range(len(workload.intended_ns))]
    each = [
        bounds.of(
            prompt_tokens=spec.prompt_tokens, output_tokens=spec.output_tokens, effort=spec.reasoning_effort,
            tools=bool(spec.tool_names),
        ).ticks
        for spec in specs
    ]  # fmt: skip
    assert worst_case_ticks(workload, bounds) == sum(each)
    assert worst_case_ticks(workload, bounds, retries=2) == 3 * sum(each)
    assert bounds.largest_ticks == max(each)


def test_a_budget_wants_a_price_and_room_for_one_request() -> None:
    with pytest.raises(UsageError, match="--price-sheet"):
        check_budget(settings(price_sheet=None, max_cost_usd="1"), settings().plan.build())
    with pytest.raises(UsageError, match=r"does not hold one request, which may cost \$0\.0"):
        check_budget(settings(max_cost_usd="0.0001"), settings().plan.build())
    check_budget(settings(max_cost_usd="1"), settings().plan.build())


def test_prices_at_the_us_endpoint_are_a_tenth_dearer_where_the_model_is_listed() -> None:
    here, there = price_sheet("grok-4.7", XAI), price_sheet("grok-4.7", "https://us.api.x.ai")
    assert here is not None
    assert there is not None
    assert there.base.output_ticks == here.base.output_ticks * 11 // 10
    assert there.tool_ticks == here.tool_ticks
    with pytest.raises(UsageError, match="not listed at the US endpoint"):
        price_sheet("grok-4.3", "https://us.api.x.ai")


def test_a_price_sheet_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "prices.yaml"
    own.write_text(
        "sources: {own: {kind: assumed, source: a contract, date: 2026-11-25}}\n"
        "default: own\n"
        "prices:\n  mine:\n    sheets:\n"
        "      - {as_of: 2026-11-25, base: {input: 100, cached: 10, output: 400}}\n"
    )
    sheet = price_sheet("anything", "http://h:1", spec=str(own))
    assert sheet is not None
    assert (sheet.base.output_ticks, sheet.source.source) == (400, "a contract")
    of_model = price_sheet("anything", "http://h:1", spec="grok-4.3")
    assert of_model == load_catalog().price("grok-4.3")
    market = price_sheet("anything", "http://h:1", spec="openai/gpt-5.5")
    assert market is not None
    assert (market.base.input_ticks, market.threshold_inclusive) == (50_000, False)
    assert price_sheet("nobody-knows-it", "http://h:1") is None
    for bad in ("no-such-model", str(tmp_path / "missing.yaml"), "nobody/nothing"):
        with pytest.raises(UsageError):
            price_sheet("anything", "http://h:1", spec=bad)


def test_the_targets_own_list_bills_and_differences_are_said() -> None:
    known = load_catalog().price("grok-4.3")
    entry = {
        "id": "grok-4.3", "prompt_text_token_price": 12_500, "cached_prompt_text_token_price": 2_000,
        "completion_text_token_price": 25_000, "prompt_text_token_price_long_context": 25_000,
        "cached_prompt_text_token_price_long_context": 4_000,
        "completion_text_token_price_long_context": 50_000, "long_context_threshold": 200_000,
    }  # fmt: skip
    same = listed_sheet(entry, known, url=XAI)
    assert same is not None
    assert (same.base, same.long, same.priority_multiplier) == (
        known.base,
        known.long,
        known.priority_multiplier,
    )
    assert "at the catalog's prices" in price_note(same, known)
    dearer = listed_sheet({**entry, "completion_text_token_price": 30_000}, known, url=XAI)
    assert dearer is not None
    assert "$1.25 / 0.20 / 3.00" in price_note(dearer, known)
    assert listed_sheet({"id": "x"}, known, url=XAI) is None
    with pytest.raises(UsageError, match="no counts"):
        listed_sheet({**entry, "prompt_text_token_price": "12500"}, known, url=XAI)


@pytest.mark.parametrize("model", ["grok-4.3", "grok-4.7", "grok-5-max", "grok-3-mini"])
def test_sheets_travel_as_json(model: str) -> None:
    sheet = load_catalog().price(model)
    back = sheet_from_json(sheet_to_json(sheet))
    assert sheet_to_json(back) == sheet_to_json(sheet)
    assert (back.base, back.long, back.tool_ticks) == (sheet.base, sheet.long, sheet.tool_ticks)
    assert back.priority_multiplier in (None, Decimal(2))
