"""Forked workers wait for their master to listen, and no longer; the kernel's stamps are asked for early."""

import subprocess
import sys

HEAD = """
import locust  # patches, as in a run
import os, socket, sys, time
from gevent import fork
from gevent.monkey import get_original
from servebench.drive import join
sleep = get_original("time", "sleep")
began = time.monotonic()
def say_time():
    # in one call: an unbuffered print() takes two, and two workers share the pipe
    os.write(1, b"%.6f\\n" % (time.monotonic() - began))
join.hold_workers()
join.hold_workers()  # Locust may build its parser twice
"""


def _run(script: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", HEAD + script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [float(line) for line in done.stdout.split()]


def test_workers_wait_until_the_master_listens() -> None:
    opened, *passed = sorted(
        _run(
            """
for _ in range(2):
    if not fork():
        say_time()
        os._exit(0)
sleep(0.3)
say_time()
join.let_workers_join()
os.wait(), os.wait()
"""
        )
    )
    assert len(passed) == 2
    assert opened >= 0.3
    assert passed[-1] - opened < 0.5  # not the second that they wait at most


def test_the_end_of_the_master_lets_them_go_on() -> None:
    (passed,) = _run(
        """
if not fork():
    say_time()
    os._exit(0)
sleep(0.2)
os._exit(0)
"""
    )
    assert 0.2 <= passed < 0.8


def test_later_forks_wait_for_nothing() -> None:
    (passed,) = _run(
        """
join.let_workers_join()
if not fork():
    say_time()
    os._exit(0)
os.wait()
"""
    )
    assert passed < 0.8


def test_stamps_are_asked_for_on_a_socket_that_stays_open() -> None:
    assert _run(
        """
join.switch_stamps_on()
print(join._stamped[0].getsockopt(socket.SOL_SOCKET, 35))  # SO_TIMESTAMPNS
"""
    ) == [float(sys.platform.startswith("linux"))]
