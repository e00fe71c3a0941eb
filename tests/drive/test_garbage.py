"""Python's collector of cycles has nothing to find while requests go, and seldom looks."""

import gc

from servebench.drive.garbage import load_spared
from tests.meter.chat_stream import GOOD
from tests.meter.servers import replies, run_calls, serve


def cycles_after(requests: int) -> int:
    """Objects that only the collector could free."""
    with serve(replies(GOOD, times=requests)) as port:
        gc.collect()
        results, _ = run_calls(port, requests)
    assert all(record.ok for record, _ in results)
    del results
    return gc.collect()


def test_requests_leave_no_cycles_behind() -> None:
    with load_spared():
        cycles_after(1)
        assert abs(cycles_after(200) - cycles_after(2)) < 50, "those of the loop itself, whatever it carried"


def test_collections_are_rare_for_a_while_only() -> None:
    before = gc.get_threshold()
    with load_spared():
        assert gc.get_threshold()[0] >= 100 * before[0]
    assert gc.get_threshold() == before
