"""Where the last selfcheck of each machine is kept: $XDG_STATE_HOME/servebench/selfcheck.json.

A result holds for a machine as it is: another CPU model, kernel, host or number of cores asks for another.
"""

import hashlib
import os
import platform
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from servebench.results.files import write_json
from servebench.results.selfcheck_file import Selfcheck

_SCHEMA = 1


def store_path() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "servebench" / "selfcheck.json"


def this_machine() -> dict[str, Any]:
    """What a result depends on. host_id is a hash: it tells hosts apart and names none."""
    name = _first_line("/etc/machine-id") or platform.node()
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "kernel": f"{platform.system()} {platform.release()}",
        "host_id": hashlib.sha256(f"servebench {name}".encode()).hexdigest()[:16],
    }


def machine_key(machine: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(machine, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def store_selfcheck(result: dict[str, Any]) -> Path:
    """Keep the result in place of this machine's last. Raises OperationError on disk trouble."""
    path = store_path()
    machines = _machines(path)
    machines[machine_key(result["machine"])] = result
    write_json(path, {"schema": _SCHEMA, "machines": machines})
    return path


def stored_selfcheck() -> dict[str, Any] | None:
    """The last result of this machine as it is now; None where there is none that can be read."""
    found = _machines(store_path()).get(machine_key(this_machine()))
    if not isinstance(found, dict):
        return None
    try:
        Selfcheck.model_validate(found)
    except ValidationError:
        return None
    return found


def _machines(path: Path) -> dict[str, Any]:
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    machines = content.get("machines") if isinstance(content, dict) else None
    return machines if isinstance(machines, dict) else {}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().partition("\n")[0].strip()
    except OSError:
        return ""
