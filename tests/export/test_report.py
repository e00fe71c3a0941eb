"""report.html: whole, self-contained, safe with any text, and alive in a real browser."""

import base64
import hashlib
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from servebench.export.report import report_html, write_report
from servebench.results.parts import gather_parts
from servebench.results.run_directory import read_run
from servebench.results.summary import summarise_run
from tests.results import made_run

NASTY = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&amp;'
BROWSER_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class _Page(HTMLParser):
    """Elements by tag, their attributes, and the text of scripts and styles."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def made_dir(
    run_dir: Path, *, n: int = 500, name: str = "made", classes: tuple[str, ...] = ("chat", "code")
) -> Path:
    made = made_run.make(n, failed_share=0.03, classes=classes) if n else []
    made_run.write(run_dir, made, slo=["ttft p99 < 2s"] if n else [], scenario={"name": name}, warmup_s=2.0)
    gather_parts(run_dir)
    return run_dir


def page_of(run_dir: Path) -> str:
    run = read_run(run_dir)
    return report_html(run, summarise_run(run))


def test_the_page_is_well_formed_and_holds_every_section(tmp_path: Path) -> None:
    page = _Page(page_of(made_dir(tmp_path)))
    headings = page.texts["h2"]
    expected = [
        "Gates",
        "Throughput",
        "Latency",
        "Over time",
        "Outcomes",
        "Tokens and dollars",
        "The run over time",
        "Load generator",
        "Run",
    ]
    assert headings == expected
    charts = [attributes for tag, attributes in page.elements if tag == "figure"]
    assert {chart["data-chart"] for chart in charts} == {
        "rates", "in-flight", "ttft-time", "ttft-ecdf", "itl-ecdf", "tokens"
    }  # fmt: skip


def test_it_loads_nothing_and_allows_only_its_own_script(tmp_path: Path) -> None:
    text = page_of(made_dir(tmp_path))
    page = _Page(text)
    for tag, attributes in page.elements:
        assert not {"src", "href", "style", "srcset"} & set(attributes), tag
        assert not any(name.startswith("on") for name in attributes)
    assert "http:" not in text.replace("http://127.0.0.1:1", "")
    assert "https:" not in text
    policy = next(
        attributes["content"] or "" for tag, attributes in page.elements if "http-equiv" in attributes
    )
    assert policy.startswith("default-src 'none'; ")
    style, script = (re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("style", "script"))
    assert (len(style), len(script)) == (1, 1)
    for directive, (content,) in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive}-src 'sha256-{digest}'" in policy


def test_any_text_is_only_text(tmp_path: Path) -> None:
    text = page_of(made_dir(tmp_path, name=NASTY, classes=(NASTY, "chat")))
    page = _Page(text)
    assert [tag for tag, _ in page.elements if tag == "img"] == []
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 2
    assert NASTY in page.texts["h1"]


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    text = page_of(made_dir(tmp_path, n=0))
    assert "no request was recorded" in text
    _Page(text)


def test_a_large_run_has_a_small_page(tmp_path: Path) -> None:
    assert len(page_of(made_dir(tmp_path, n=20_000))) < 400_000


def test_the_figures_are_the_summarys(tmp_path: Path) -> None:
    run_dir = made_dir(tmp_path)
    summary = summarise_run(read_run(run_dir))
    text = write_report(run_dir).read_text()
    cost = summary.to_json()["classes"]["all"]["cost_usd"]
    assert f"Exact total: ${cost}." in text
    assert f'<b class="bad">{summary.gates[0].verdict.value}</b>' in text


def test_a_browser_shows_it_without_a_complaint(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed (Debian package chromium)")
    (tmp_path / "run").mkdir()
    path = write_report(made_dir(tmp_path / "run", classes=(NASTY, "chat")))
    command = [
        chromium,
        *BROWSER_FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
        "--v=0",
    ]
    done = subprocess.run(
        [*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # the script ran under the page's own policy, and nothing was refused
    assert '<p class="soft" id="self-check">6 charts ready</p>' in done.stdout
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line or "Refused" in line]
    assert complaints == []
