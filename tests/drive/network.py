"""Hosts of a test's own: network namespaces on one switch, made with ip(8) and gone with the block.

Each host has its own loopback and address, and a boot id of its own, so that programs take its clock for
another machine's.
"""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True)
class Host:
    """A namespace, its address, and a directory of its own."""

    namespace: str
    address: str
    folder: Path

    def start(self, *command: str, **more: Any) -> "subprocess.Popen[str]":
        """Run a command there, in its directory."""
        script = f'mount --bind "{self.folder}/boot_id" {_BOOT_ID} && cd "{self.folder}/home" && exec "$@"'
        return subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, "sh", "-c", script, "sh", *command],
            text=True, stdin=subprocess.DEVNULL, **more,
        )  # fmt: skip


def why_not() -> str:
    """Why hosts can't be made here; empty where they can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "making network namespaces takes root"
    if shutil.which("ip") is None:
        return "ip(8) is not installed (Debian: iproute2)"
    name = f"sb-try-{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"network namespaces are not allowed here: {tried.stderr.strip()}"
    _ip("netns", "del", name)
    return ""


@contextmanager
def hosts(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Host]]:
    """So many hosts on one switch, 10.77.0.1 and up."""
    tag = f"sb{os.getpid() % 100_000}"
    switch = f"{tag}-switch"
    made: list[str] = []
    try:
        _ip("netns", "add", switch)
        made.append(switch)
        _ip("-n", switch, "link", "add", "bridge0", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge0", "up")
        found = {}
        for number, name in enumerate(names, start=1):
            space, port = f"{tag}-{name}", f"port{number}"
            _ip("netns", "add", space)
            made.append(space)
            _ip("link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", port, "netns", switch)
            _ip("-n", switch, "link", "set", port, "master", "bridge0", "up")
            _ip("-n", space, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", space, "link", "set", device, "up")
            own = folder / name
            (own / "home").mkdir(parents=True)
            (own / "boot_id").write_text(f"{uuid.uuid4()}\n")
            found[name] = Host(space, f"10.77.0.{number}", own)
        yield found
    finally:
        for space in made:
            _ip("netns", "del", space)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
