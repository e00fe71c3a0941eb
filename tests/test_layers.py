"""The house's layers hold, and the checker that says so sees a breach of each kind."""

from pathlib import Path

import pytest

from tests.import_tree import read_tree
from tests.layers import Edges, breaches

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "servebench": ROOT / "src" / "servebench",
    "mock_server": ROOT / "mock_server",
    "locustfiles": ROOT / "locustfiles",
}
EDGES = Edges(
    files=frozenset(
        {
            "servebench.catalog.yaml_file",
            "servebench.results.files",
            "servebench.results.parts",
            "servebench.results.run_directory",
            "servebench.workload.prompt_files",
            "servebench.workload.scenario",
            "servebench.workload.text_file",
            "servebench.workload.traces",
        }
    ),
    sockets=frozenset(
        {
            "servebench.meter.connection",
            "servebench.meter.dial",
            "servebench.meter.engine_loop",
            "servebench.meter.ready",
            "servebench.meter.reference_server",  # a program of its own, which the meter is held against
            "servebench.meter.steady",
            "servebench.meter.timestamps",
            "servebench.meter.tls",
            "servebench.meter.tls_connection",
            "servebench.meter.wire",
        }
    ),
)
LOCUSTFILE_LINES = 60


def test_the_house_stands() -> None:
    assert breaches(read_tree(PACKAGES), EDGES) == []


def test_locustfiles_are_thin() -> None:
    thick = [
        f"{path.name}: {lines} lines"
        for path in sorted(PACKAGES["locustfiles"].glob("*.py"))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LOCUSTFILE_LINES
    ]
    assert thick == []


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small house without a breach: one module a room, each importing what it may."""
    files = {
        "servebench/__init__.py": "__version__ = '1'",
        "servebench/errors.py": "class UsageError(Exception): ...",
        "servebench/catalog/__init__.py": "",
        "servebench/catalog/load.py": "def load(path): return path.read_text()",
        "servebench/catalog/tiers.py": "from servebench.errors import UsageError",
        "servebench/workload/__init__.py": "",
        "servebench/workload/plan.py": "import numpy as np\nrng = np.random.default_rng(1)",
        "servebench/meter/__init__.py": "",
        "servebench/meter/record.py": "",
        "servebench/meter/engine_loop.py": "import gevent, socket, time\nfrom servebench.meter import record",
        "servebench/engine/__init__.py": "",
        "servebench/engine/replica.py": "from servebench.catalog import tiers",
        "servebench/cost/__init__.py": "",
        "servebench/cost/bill.py": "from servebench.catalog.tiers import UsageError",
        "servebench/results/__init__.py": "",
        "servebench/results/summary.py": "from servebench.meter import record\nimport servebench.cost.bill",
        "servebench/plan/__init__.py": "",
        "servebench/plan/search.py": "from servebench.results import summary",
        "servebench/export/__init__.py": "",
        "servebench/export/report.py": "import time\nfrom servebench.results import summary",
        "servebench/drive/__init__.py": "",
        "servebench/drive/users.py": "import locust\nfrom servebench.export import report",
        "servebench/drive/launch.py": "import subprocess",
        "servebench/cli/__init__.py": "import importlib",
        "servebench/cli/run.py": "def command():\n    from servebench.drive import users",
        "servebench/cli/mock.py": "def command():\n    import mock_server.app",
        "mock_server/__init__.py": "",
        "mock_server/app.py": "import asyncio\nfrom servebench.engine.replica import tiers",
        "locustfiles/chat.py": "from servebench.drive.users import report",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def check(house: Path) -> list[str]:
    packages = {name: house / name for name in ("servebench", "mock_server", "locustfiles")}
    edges = Edges(
        files=frozenset({"servebench.catalog.load"}), sockets=frozenset({"servebench.meter.engine_loop"})
    )
    return breaches(read_tree(packages), edges)


def test_a_house_without_a_breach_passes(house: Path) -> None:
    assert check(house) == []


@pytest.mark.parametrize(
    ("module", "planted", "told"),
    [
        ("servebench/meter/record.py", "import servebench.engine.replica", "meter must not know engine"),
        ("servebench/meter/record.py", "import mock_server.app", "meter must not know mock_server"),
        ("servebench/workload/plan.py", "from ..catalog import tiers", "workload must not know catalog"),
        ("servebench/catalog/tiers.py", "import servebench.meter", "catalog must not know meter"),
        ("servebench/engine/replica.py", "from servebench import workload", "engine must not know workload"),
        ("servebench/cost/bill.py", "import servebench.engine", "cost must not know engine"),
        ("servebench/results/summary.py", "import servebench.plan.search", "results must not know plan"),
        ("servebench/plan/search.py", "import servebench.export", "plan must not know export"),
        ("servebench/export/report.py", "import servebench.drive.launch", "export must not know drive"),
        ("servebench/drive/launch.py", "import servebench.cli", "drive must not know cli"),
        ("mock_server/app.py", "from servebench.cost.bill import x", "mock_server must not know cost"),
        ("mock_server/app.py", "import servebench.meter.record", "mock_server must not know meter"),
        ("locustfiles/chat.py", "import servebench.engine", "a locustfile knows servebench.drive only"),
        ("servebench/basement/__init__.py", "", "servebench.basement is in no known room"),
        # inside a function, by name, and through another module
        (
            "servebench/engine/replica.py",
            "def f():\n    import servebench.cost.bill",
            "engine must not know cost",
        ),
        (
            "servebench/cost/bill.py",
            "importlib.import_module('servebench.meter')",
            "cost must not know meter",
        ),
        (
            "servebench/errors.py",
            "import servebench.results",
            "servebench.catalog.tiers reaches servebench.results",
        ),
        ("servebench/catalog/tiers.py", "import time", "imports time: catalog is pure"),
        ("servebench/engine/replica.py", "from asyncio import sleep", "imports asyncio: engine is pure"),
        ("servebench/workload/plan.py", "import random", "imports random: workload is pure"),
        (
            "servebench/results/summary.py",
            "def f():\n    import gevent.event",
            "imports gevent: results is pure",
        ),
        ("servebench/meter/record.py", "import ssl", "imports ssl: meter is pure"),
        ("servebench/engine/replica.py", "data = open('x')", "calls open(): only the named edges"),
        ("servebench/catalog/tiers.py", "data = path.read_text()", "calls read_text(): only the named edges"),
        ("servebench/catalog/tiers.py", "import os", "imports os: only the named edges"),
        ("servebench/workload/plan.py", "x = np.random.rand(3)", "uses np.random.rand"),
        ("servebench/catalog/load.py", "x = date.today()", "uses date.today"),
        ("servebench/catalog/load.py", "import socket", "imports socket: catalog is pure"),
        ("servebench/drive/users.py", "import aiohttp", "reaches both locust and aiohttp"),
        ("servebench/cli/run.py", "def g():\n    import mock_server.app", "reaches both locust and asyncio"),
        ("servebench/cli/run.py", "import locust", "servebench.cli.run imports locust at start"),
        ("servebench/cli/mock.py", "import mock_server.app", "servebench.cli.mock imports asyncio at start"),
        ("servebench/plan/search.py", "import servebench.plan.b", "import cycle: servebench.plan.b -> "),
        (
            "servebench/plan/search.py",
            "def f():\n    import servebench.plan.b",
            "import cycle: servebench.plan.b -> ",
        ),
        (
            "servebench/meter/record.py",
            "if TYPE_CHECKING:\n    from servebench.engine import replica",
            "meter must not know engine",
        ),
    ],
)
def test_a_planted_breach_is_seen(house: Path, module: str, planted: str, told: str) -> None:
    (house / "servebench/plan/b.py").write_text("import servebench.plan.search", encoding="utf-8")
    path = house / module
    path.parent.mkdir(exist_ok=True)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(f"{before}\n{planted}\n", encoding="utf-8")
    found = check(house)
    assert any(told in sentence for sentence in found), found


def test_naming_a_type_of_the_same_room_is_no_cycle(house: Path) -> None:
    (house / "servebench/plan/b.py").write_text("import servebench.plan.search", encoding="utf-8")
    with (house / "servebench/plan/search.py").open("a", encoding="utf-8") as search:
        search.write("\nif TYPE_CHECKING:\n    from servebench.plan.b import B\n")
    assert check(house) == []


def test_a_named_edge_that_is_gone_is_told(house: Path) -> None:
    (house / "servebench/catalog/load.py").unlink()
    assert check(house) == ["servebench.catalog.load is a named edge but no module"]
