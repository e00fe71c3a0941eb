"""The kernel's table of open files has its room before the load."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from servebench.descriptors import make_room
from servebench.meter.call import Target
from servebench.meter.engine_loop import EngineLoop

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells how large its table of open files is"
)
COUNT = min(4000, resource.getrlimit(resource.RLIMIT_NOFILE)[0])

FEW = """
import resource, sys
from servebench.descriptors import make_room
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
make_room(0, 100_000)
"""


def table_size() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in lines if line.startswith("FDSize:")]
    return int(line.split()[1])


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_there_is_room_and_nothing_stays_open() -> None:
    before = open_files()
    with open(os.devnull, "rb") as some:
        make_room(some.fileno(), COUNT)
    assert table_size() >= COUNT
    assert open_files() == before


@pytest.mark.parametrize("limit", [4, 300])
def test_it_asks_for_no_more_than_the_process_may_have(limit: int) -> None:
    done = subprocess.run([sys.executable, "-c", FEW, str(limit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_loop_has_room_for_all_its_connections() -> None:
    loop = EngineLoop(Target("127.0.0.1", 9), max_in_flight=2 * COUNT)
    try:
        assert table_size() >= COUNT
    finally:
        loop.close()
