"""The economics page and tables: every row and band, well-formed, nothing loaded, alive in a real browser."""

import datetime
import json
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from servebench.export.economics_page import economics_html
from servebench.export.economics_table import HEADINGS, dollars, markdown, rows, to_json
from servebench.plan.demand_text import parse_demand
from servebench.plan.economics_study import Question, Study, study
from servebench.plan.fleet_size import Terms
from servebench.workload.scenario import parse_scenario
from tests.export.test_report import BROWSER_FLAGS, _Page

SMALL = """
name: small
load: {rate_rps: 4, duration_s: 10}
classes: [{name: quick, input_tokens: 1500, output_tokens: 60, reasoning_effort: none}]
"""


@pytest.fixture(scope="module")
def found() -> Study:
    asked = Question(
        scenario=parse_scenario(SMALL, "small"),
        tier_ids=("grok-4.3", "grok-5-max"),
        slo_texts=("ttft p90 < 2s", "tpot p90 < 40ms"),
        terms=Terms("hyperscaler"),
        demand=parse_demand("500"),
        seed=3,
        probe_s=5.0,
    )
    return study(asked, on=datetime.date(2026, 11, 25), processes=1)


def test_every_figure_of_a_row_stands_with_its_band_and_its_kind(found: Study) -> None:
    cells = rows(found)
    assert [len(line) for line in cells] == [len(HEADINGS)] * 2
    assert cells[0][6].endswith("published")
    assert cells[1][6].endswith("break-even (MODELLED)")
    for line in cells:  # tokens/s and dollars of modelled tiers: value (low-high)
        assert "(" in line[1]
        assert "(" in line[3]


def test_markdown_has_the_table_the_cluster_and_the_market(found: Study) -> None:
    text = markdown(found)
    assert text.count("| Grok 4.3") == 3  # its row, and one for each GPU kind of the cluster
    for heading in ("## On Colossus 2", "## List prices beside it"):
        assert heading in text
    assert "GPT-5.5" in text
    assert "Demand: 500 requests/s" in text


def test_json_is_whole_and_its_money_is_text(found: Study) -> None:
    answer = json.loads(json.dumps(to_json(found), allow_nan=False))
    row = answer["tiers"][1]
    assert (row["tier"], row["price"]["label"], row["modelled"]) == ("grok-5-max", "break-even", True)
    assert float(row["usd_per_mtok_low"]) < float(row["usd_per_mtok"]) < float(row["usd_per_mtok_high"])
    assert [case["gpu"] for case in row["cluster"]] == ["h100", "b200"]
    assert len(row["curve"]) > 5


def test_the_page_is_well_formed_and_loads_nothing(found: Study) -> None:
    text = economics_html(found)
    page = _Page(text)
    expected = ["Per tier", "Speed against cost", "On Colossus 2", "List prices of 2026-11-25"]
    assert page.texts["h2"] == [*expected, "What it rests on"]
    for tag, attributes in page.elements:
        assert not {"src", "href", "style", "srcset"} & set(attributes), tag
    assert "http" not in text.replace("http-equiv", "")
    assert "(MODELLED)" in text


def test_a_browser_draws_it_without_a_complaint(found: Study, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed (Debian package chromium)")
    path = tmp_path / "economics.html"
    path.write_text(economics_html(found), encoding="utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [chromium, *BROWSER_FLAGS, profile, "--enable-logging=stderr", "--v=0", "--dump-dom"]
    done = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert '<p class="soft" id="self-check">1 charts ready</p>' in done.stdout
    assert done.stdout.count('<path class="line') == 2
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line or "Refused" in line] == []


@pytest.mark.parametrize(
    ("usd", "shown"),
    [("0.02984", "0.0298"), ("1.294", "1.29"), ("101.4", "101"), ("0", "0"), ("9.2", "9.20")],
)
def test_dollars_have_three_digits(usd: str, shown: str) -> None:
    assert dollars(Decimal(usd)) == shown
