"""A real Chromium, headless, driven over its own debugging pipe: open a page, evaluate JavaScript in it."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe",
)  # fmt: skip
_ANSWER_S = 30.0


class Page:
    """One page. Messages are JSON that ends in a zero byte, by the DevTools protocol."""

    def __init__(self, to_fd: int, from_fd: int) -> None:
        self._to, self._from = to_fd, from_fd
        self._held = b""
        self._number = 0
        self._session: str | None = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask("Page.enable")

    def open(self, url: str) -> None:
        self._ask("Page.navigate", url=url)

    def value(self, script: str) -> Any:
        """What a JavaScript expression gives."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str, timeout_s: float) -> Any:
        """Until the expression gives something true, which is returned."""
        until = time.monotonic() + timeout_s
        while not (found := self.value(f"document.body && ({script})")):
            assert time.monotonic() < until, f"never came: {script}; the page says {self.text()[:2000]}"
            time.sleep(0.2)
        return found

    def text(self) -> str:
        return str(self.value("document.body.innerText"))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + _ANSWER_S
        while time.monotonic() < until:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result
        raise AssertionError(f"Chromium did not answer {method}")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._held:
            more = os.read(self._from, 1 << 16)
            assert more, "Chromium ended"
            self._held += more
        raw, _, self._held = self._held.partition(b"\0")
        answer: dict[str, Any] = json.loads(raw)
        return answer


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A page of a fresh browser with this profile directory; the test is skipped where no Chromium is."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed (Debian package chromium)")
    its_in, our_out = os.pipe()
    our_in, its_out = os.pipe()
    # the pipe's ends must be 3 and 4 in the browser
    script = f'exec "$@" 3<&{its_in} 4>&{its_out} {its_in}<&- {its_out}>&-'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", chromium, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(its_in, its_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(its_in)
    os.close(its_out)
    try:
        yield Page(our_out, our_in)
    finally:
        os.close(our_out)
        os.close(our_in)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
