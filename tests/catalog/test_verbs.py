"""`servebench tiers` and `servebench prices`: what they show, and what they say to a wrong name."""

import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from servebench.catalog.load import DATA, load_catalog
from servebench.cli import cli, prices
from servebench.errors import UsageError


def output(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def answer(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output(*arguments, "--json"))
    return found


def test_tiers_shows_each_with_its_marks() -> None:
    text = output("tiers")
    for tier_id in ("grok-4.3", "grok-5-small", "grok-5-mid", "grok-5-large", "grok-5-max"):
        assert tier_id in text
    assert "18-37" in text  # the active parameters of grok-4.3, 1 sigma
    assert "MODELLED" in text
    assert "100 tok/s" in text
    assert "72 x GB300 NVL72" in text
    assert "GPT-4 (OpenAI): 1.76 T, a rumour" in text
    assert "Colossus 2: 200,000+" in text


def test_tiers_of_one_tier_shows_every_number() -> None:
    text = output("tiers", "grok-4.3-latest")
    for name in ("params_active", "layer_latency_s", "kv_bytes_per_token", "reasoning_tokens.low"):
        assert name in text
    assert "Solved by calibration: layer_latency_s" in text


def test_tiers_as_json_has_kind_source_and_date_of_all() -> None:
    found = answer("tiers")
    assert len(found["tiers"]) == 5
    for tier in found["tiers"]:
        for name, value in tier["values"].items():
            assert value["kind"] in {"published", "derived", "assumed", "MODELLED"}, name
            assert value["source"], name
            assert value["date"], name
        speed = tier["speed"]
        if tier["id"] == "grok-4.3":
            assert (speed["kind"], speed["tokens_per_s_per_user"]) == ("published", 100)
        else:
            assert speed["kind"] == "MODELLED"
            assert speed["low"] < speed["tokens_per_s_per_user"] < speed["high"]
    assert {ref["id"] for ref in found["references"]} >= {"gpt-5.5", "claude-opus-4-7", "gpt-4"}
    assert [tier["id"] for tier in answer("tiers", "grok-5-max")["tiers"]] == ["grok-5-max"]


def test_prices_shows_ours_and_theirs() -> None:
    text = output("prices", "--on", "2026-11-24")
    for word in ("grok-4.3", "1.25", "2.50", ">=200k", "GPT-5.5", "Claude Opus 4.7", "genai-prices"):
        assert word in text


def test_prices_as_json_are_exact() -> None:
    found = answer("prices", "--on", "2026-11-24")
    grok = next(row for row in found["ours"] if row["model"] == "grok-4.3")
    assert grok["ticks_per_token"] == {"input": 12500, "cached": 2000, "output": 25000}
    assert grok["usd_per_mtok"]["input"] == "1.25"
    assert (grok["long_context_threshold_tokens"], grok["threshold_inclusive"]) == (200_000, True)
    assert found["retired"]["grok-3"] == {"bills_as": "grok-4.3", "since": "2026-05-15"}
    gpt = next(row for row in found["market"]["models"] if row["id"] == "gpt-5.5")
    assert gpt["usd_per_mtok"]["long_output"] == "45"


def test_prices_of_an_earlier_day() -> None:
    found = answer("prices", "--on", "2026-07-10")
    by_model = {row["model"]: row for row in found["ours"]}
    assert by_model["grok-4.5"]["ticks_per_token"]["cached"] == 5000
    assert "grok-4.7" not in by_model  # nothing is known of it on that day


def test_an_unknown_tier_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="unknown tier 'grok-9'"):
        output("tiers", "grok-9")


def test_an_unknown_tier_ends_with_code_2_and_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "servebench", "tiers", "grok-9"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("servebench: unknown tier 'grok-9'; known: grok-4.3")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_nobody_takes_is_one_sentence_or_none() -> None:
    command = [sys.executable, "-m", "servebench", "prices", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "servebench: No space left on device: the output\n")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_modelled_price_is_marked_with_its_band(tmp_path: Path) -> None:
    shutil.copytree(DATA, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("prices_*.yaml"):
        path.unlink()
    (tmp_path / "prices_ours.yaml").write_text(
        """
sources: {model: {kind: MODELLED, source: break-even of a model, date: 2026-11-24}}
default: model
prices:
  grok-5-max:
    sheets:
      - as_of: 2026-11-24
        base: {input: 30000, cached: 4800, output: 60000}
        low: {input: 10000, cached: 1600, output: 20000}
        high: {input: 90000, cached: 14400, output: 180000}
""",
        encoding="utf-8",
    )
    catalog = load_catalog(tmp_path)
    on = datetime.date(2026, 11, 24)
    found = prices.to_json(catalog, prices.sheets_on(catalog, on), on)
    row = next(row for row in found["ours"] if row["model"] == "grok-5-max")
    assert (row["kind"], row["usd_per_mtok"]["output"]) == ("MODELLED", "6")
    assert (row["ticks_per_token_low"]["output"], row["ticks_per_token_high"]["output"]) == (20_000, 180_000)
    assert prices.marked_kind(catalog.price("grok-5-max")) == "MODELLED\nin/out\n1.00/2.00 -\n9.00/18.00"


def test_prices_show_a_break_even_price_of_each_tier_on_each_basis() -> None:
    done = CliRunner().invoke(cli, ["prices", "--json"], catch_exceptions=False)
    found = json.loads(done.output)["break_even"]
    catalog = load_catalog()
    assert (found["kind"], list(found["tiers"])) == ("MODELLED", list(catalog.tiers))
    for tier_id, row in found["tiers"].items():
        assert list(row["bases"]) == ["hyperscaler", "neocloud", "rental"]
        owned, rented = (row["bases"][b]["ticks_per_token"]["output"] for b in ("hyperscaler", "rental"))
        hour = catalog.gpu(row["gpu"]).usd_per_gpu_h
        assert rented / owned == pytest.approx(float(hour["rental"] / hour["hyperscaler"]), rel=2e-3), tier_id
        for band in row["bases"].values():
            low, base, high = (band[f"ticks_per_token{end}"]["input"] for end in ("_low", "", "_high"))
            assert low <= base <= high
    # the sheets that the mock bills by are the same model's
    small = found["tiers"]["grok-5-small"]["bases"]["hyperscaler"]["ticks_per_token"]
    assert small["output"] == catalog.price("grok-5-small").base.output_ticks
    table = CliRunner().invoke(cli, ["prices"], catch_exceptions=False).output
    assert "Break-even prices, MODELLED" in table


def on_a_terminal(columns: int, *arguments: str) -> str:
    """What stands there, without colours."""
    reader, writer = os.openpty()
    termios.tcsetwinsize(writer, (50, columns))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    child = subprocess.Popen(
        [sys.executable, "-m", "servebench", *arguments], stdin=writer, stdout=writer, env=environment
    )
    os.close(writer)
    parts = []
    try:
        while part := os.read(reader, 65_536):
            parts.append(part)
    except OSError:  # Linux's way to say that the other end has closed
        pass
    os.close(reader)
    assert child.wait() == 0
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", b"".join(parts).decode())


@pytest.mark.skipif(sys.platform != "linux", reason="pseudo terminals as Linux has them")
@pytest.mark.parametrize("columns", [60, 80])
def test_a_narrow_terminal_loses_no_name_and_no_digit(columns: int) -> None:
    prices = on_a_terminal(columns, "prices")
    break_even = prices[prices.index("Break-even prices") :]
    for tier_id in load_catalog().tiers:
        assert f"\n{tier_id} " in break_even
    assert "13.024" in break_even
    assert "Replica" in on_a_terminal(columns, "tiers")
    assert "4.16e+11" in on_a_terminal(columns, "tiers", "grok-5-max")
