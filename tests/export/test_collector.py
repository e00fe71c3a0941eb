"""The collector as a process: what it shows, how long it stays, and that it never holds its parent up."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from servebench.errors import OperationError
from servebench.export.collector import CollectorHandle
from servebench.export.metric_names import METRICS, RUN_LABELS
from servebench.results.live import LiveStats
from servebench.results.slo import parse_slo
from tests.export.made_run import made_run
from tests.export.scraping import fetch, value, values

LABELS = {"run_id": "r1", "scenario": "chat", "model": "grok-4.3", "target": "mock"}


@pytest.fixture
def handle() -> Iterator[CollectorHandle]:
    started = CollectorHandle.start(labels=LABELS, info={"seed": "7", "price_date": "2026-11-24"})
    yield started
    started.finish(0)


def wait_for(name: str, expected: float, *, url: str) -> str:
    """The first page where it has this value: updates and scrapes travel apart."""
    give_up_s = time.monotonic() + 10
    while value(page := fetch(url), name) != expected:
        assert time.monotonic() < give_up_s, page
        time.sleep(0.02)
    return page


def test_every_family_is_there_from_the_first_scrape(handle: CollectorHandle) -> None:
    page = fetch(handle.url)
    shown = {name for name, _ in values(page)}
    assert shown == {name for metric in METRICS for name in metric.series_names}
    assert value(page, "servebench_requests_total", outcome="shed") == 0
    assert value(page, "servebench_run_info", version="0.1.0", seed="7", price_date="2026-11-24") == 1
    for line in page.splitlines():
        if not line.startswith("#"):
            assert all(f'{label}="{LABELS[label]}"' in line for label in RUN_LABELS)


def test_totals_are_the_records_own(handle: CollectorHandle) -> None:
    ended = list(made_run(requests=300, rate_rps=50, fault_share=0.05))
    live = LiveStats([parse_slo("ttft p99 < 300ms")])
    for position, one in enumerate(ended):
        live.add(one.record, one.chunk_us, cost_ticks=one.cost_ticks)
        if position % 40 == 0:
            handle.send({"delta": live.take()})
    handle.send({"delta": live.take(), "gauges": {"in_flight": 4}, "phase": "steady"})
    page = wait_for("servebench_requests_in_flight", 4, url=handle.url)

    good = [one for one in ended if one.record.ok]
    assert value(page, "servebench_requests_total", outcome="success") == len(good) == 285
    offered = sum(v for (name, _), v in values(page).items() if name == "servebench_requests_total")
    assert offered == 300
    for kind, count in {
        "input": sum((one.record.prompt_tokens or 0) - (one.record.cached_tokens or 0) for one in good),
        "cached_input": sum(one.record.cached_tokens or 0 for one in good),
        "output": sum(one.record.completion_tokens or 0 for one in good),
        "reasoning": sum(one.record.reasoning_tokens or 0 for one in good),
    }.items():
        assert value(page, "servebench_tokens_total", type=kind, source="usage") == count
    usd = sum(v for (name, _), v in values(page).items() if name == "servebench_cost_usd_total")
    assert usd == pytest.approx(sum(sum(one.cost_ticks.values()) for one in ended) / 1e10, rel=1e-12)

    ttft = sorted(one.record.ttft_s or 0 for one in good)
    within = sum(seconds <= 0.3 for seconds in ttft)
    assert value(page, "servebench_ttft_seconds_bucket", le="0.3") == within
    assert value(page, "servebench_ttft_seconds_bucket", le="+Inf") == 300  # a failure lies at +inf
    assert value(page, "servebench_ttft_seconds_sum") == pytest.approx(sum(ttft), abs=1e-6)
    assert value(page, "servebench_slo_good_total", slo="ttft p99 < 300ms") == within
    assert value(page, "servebench_slo_offered_total", slo="all") == 300
    assert value(page, "servebench_itl_seconds_count") == sum(len(one.chunk_us) - 1 for one in good)


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OperationError, match=rf"can't listen on 127.0.0.1:{port} \(.*\); choose another"):
            CollectorHandle.start(port=port, labels=LABELS)


def test_it_binds_loopback_only(handle: CollectorHandle) -> None:
    with open("/proc/net/tcp", encoding="ascii") as sockets:
        listening = [line.split()[1] for line in sockets if line.split()[3] == "0A"]
    assert [address for address in listening if address.endswith(f":{handle.port:04X}")] == [
        f"0100007F:{handle.port:04X}"
    ]


def test_nobody_scraped_so_it_ends_at_once() -> None:
    handle = CollectorHandle.start(labels=LABELS)
    handle.send({"phase": "steady"})
    began_s = time.monotonic()
    handle.finish()
    assert time.monotonic() - began_s < 3  # the child may still have been starting
    assert not handle.alive
    assert handle.send({"phase": "steady"}) is False


def test_it_stays_for_two_more_scrapes_then_ends() -> None:
    handle = CollectorHandle.start(labels=LABELS)
    finished, seen_after = threading.Event(), list[str]()

    def scrape_each_300_ms() -> None:
        while True:
            try:
                page = fetch(handle.url)
            except OSError:
                return
            if finished.is_set():
                seen_after.append(page)
            time.sleep(0.3)

    scraper = threading.Thread(target=scrape_each_300_ms)
    scraper.start()
    time.sleep(1.2)
    finished.set()
    began_s = time.monotonic()
    handle.finish()
    took_s = time.monotonic() - began_s
    scraper.join(timeout=5)
    assert 0.2 < took_s < 3
    assert len(seen_after) >= 2
    assert value(seen_after[-1], "servebench_phase_info", phase="finished") == 1


def test_a_scraper_that_has_gone_is_not_waited_for() -> None:
    handle = CollectorHandle.start(labels=LABELS)
    for _ in range(4):
        fetch(handle.url)
        time.sleep(0.1)
    time.sleep(1.0)  # ten of its intervals
    began_s = time.monotonic()
    handle.finish()
    assert time.monotonic() - began_s < 1


def test_it_dies_with_its_parent() -> None:
    script = (
        "import os, signal\n"
        "from servebench.export.collector import CollectorHandle\n"
        f"handle = CollectorHandle.start(labels={LABELS!r})\n"
        "print(handle.url, handle._pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        url, pid = parent.stdout.readline().split()
    fetch(url)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    give_up_s = time.monotonic() + 5
    while time.monotonic() < give_up_s and _running(int(pid)):
        time.sleep(0.02)
    assert not _running(int(pid))


def _running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_stopped_child_never_holds_the_parent_up(handle: CollectorHandle) -> None:
    fetch(handle.url)
    assert handle._pid is not None
    update = {"delta": LiveStats().take()}
    os.kill(handle._pid, signal.SIGSTOP)
    try:
        slowest_s = 0.0
        for _ in range(600):  # some 2 MB, several times what the socket takes
            began_s = time.monotonic()
            assert handle.send(update)
            slowest_s = max(slowest_s, time.monotonic() - began_s)
    finally:
        os.kill(handle._pid, signal.SIGCONT)
    assert slowest_s < 0.1
    for _ in range(100):  # what did not fit goes with the next
        handle.send({"gauges": {"users": 17}})
        time.sleep(0.01)
    wait_for("servebench_users", 17, url=handle.url)


def test_a_dead_child_is_told_not_raised(handle: CollectorHandle) -> None:
    assert handle._pid is not None
    os.kill(handle._pid, signal.SIGKILL)
    give_up_s = time.monotonic() + 5
    while handle.send({"phase": "steady"}) and time.monotonic() < give_up_s:
        time.sleep(0.02)
    assert not handle.alive
    handle.finish()


def test_no_key_reaches_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_API_KEY", "xai-not-for-you")
    monkeypatch.setenv("SERVEBENCH_API_KEY", "nor-this")
    handle = CollectorHandle.start(labels=LABELS)
    page = fetch(handle.url)
    with open(f"/proc/{handle._pid}/environ", "rb") as environment:
        assert b"not-for-you" not in (text := environment.read())
    assert b"nor-this" not in text
    assert "not-for-you" not in page
    handle.finish(0)


def test_unknown_paths_are_404(handle: CollectorHandle) -> None:
    with pytest.raises(OSError, match="404"):
        fetch(handle.url.replace("/metrics", "/secrets"))


GEVENT_PARENT = f"""
import gevent.monkey
gevent.monkey.patch_all()
import time, urllib.request
import gevent
from servebench.export.collector import CollectorHandle
from servebench.results.live import LiveStats

ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        gevent.sleep(0.005)
ticking = gevent.spawn(tick)
gevent.sleep(0.05)
handle = CollectorHandle.start(labels={LABELS!r})
def scrape():
    while True:
        gevent.sleep(0.3)
        try:
            pages.append(urllib.request.urlopen(handle.url, timeout=5).read().decode())
        except OSError:
            return
pages = []
scraping = gevent.spawn(scrape)
for users in range(20):
    handle.send({{"delta": LiveStats().take(), "gauges": {{"users": users}}}})
    gevent.sleep(0.05)
handle.finish()
scraping.join(timeout=5)
longest = max(later - earlier for earlier, later in zip(ticks, ticks[1:]))
assert any("servebench_users{{" in line and line.endswith(" 19.0") for line in pages[-1].splitlines())
print(longest)
"""


def test_it_works_under_gevent_and_does_not_hold_the_hub() -> None:
    result = subprocess.run(
        [sys.executable, "-c", GEVENT_PARENT], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 0.4  # finish() alone takes two scrapes of 0.3 s
