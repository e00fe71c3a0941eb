"""The rules of the house's layers, and what of a source tree breaks them.

An import inside a function counts as one at the top, except where the rule is about start-up.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.import_tree import Tree, parents

_CATALOG = frozenset({"catalog"})
_BELOW_RESULTS = frozenset({"catalog", "workload", "meter", "engine", "cost"})
_BELOW_CLI = _BELOW_RESULTS | {"results", "plan", "export", "drive"}
ROOT = frozenset({"descriptors", "errors", "normal"})  # for all rooms: they reach nothing
# room -> the rooms its closure may hold besides itself, the root and the bare package
MAY_REACH: Mapping[str, frozenset[str]] = {
    "root": frozenset(),
    "catalog": frozenset(),
    "workload": frozenset(),
    "meter": frozenset(),
    "engine": _CATALOG,
    "cost": _CATALOG,
    "results": _BELOW_RESULTS,
    "plan": _BELOW_RESULTS | {"results"},
    "export": _BELOW_RESULTS | {"results", "plan"},
    "drive": _BELOW_RESULTS | {"results", "plan", "export"},
    "cli": _BELOW_CLI | {"mock_server"},
    "main": _BELOW_CLI | {"mock_server", "cli"},
    "mock_server": _CATALOG | {"engine"},
}
LOCUSTFILES_MAY_IMPORT = "drive"  # by name; what drive itself reaches is drive's affair

PURE_ROOMS = frozenset({"catalog", "workload", "meter", "engine", "cost", "results"})
# fmt: off
IMPURE_MODULES = frozenset({
    "gevent", "asyncio", "aiohttp", "locust", "uvloop", "greenlet", "time", "sched", "random", "secrets",
    "uuid", "socket", "_socket", "ssl", "select", "selectors", "requests", "httpx", "urllib.request",
    "http.client", "threading", "subprocess", "multiprocessing", "concurrent", "signal",
})
FILE_MODULES = frozenset({"os", "shutil", "tempfile", "glob", "gzip", "mmap", "importlib.resources"})
FILE_CALLS = frozenset({
    "open", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink", "iterdir", "glob",
    "rglob",
})
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})
SEEDED_RANDOM = frozenset({"Generator", "default_rng", "SeedSequence", "Philox", "PCG64", "BitGenerator"})
# fmt: on

GEVENT_SIDE = frozenset({"gevent", "locust", "greenlet", "geventhttpclient"})
ASYNCIO_SIDE = frozenset({"asyncio", "aiohttp", "uvloop"})


@dataclass(frozen=True, slots=True)
class Edges:
    """The modules of pure rooms that are named edges: module -> what it may touch besides."""

    files: frozenset[str] = frozenset()  # may read and write files
    sockets: frozenset[str] = frozenset()  # may use sockets, the clock and the hub


def room(name: str) -> str:
    """servebench.results.slo -> results; servebench.errors -> root; mock_server.app -> mock_server."""
    parts = name.split(".")
    if parts[0] != "servebench":
        return parts[0]
    if len(parts) == 1 or parts[1] in ROOT:
        return "root"
    return "main" if parts[1] == "__main__" else parts[1]


def breaches(tree: Tree, edges: Edges) -> list[str]:
    """One sentence each, sorted; empty = the house stands."""
    checks: list[Callable[[], Iterable[str]]] = [
        lambda: _layer_breaches(tree),
        lambda: _locustfile_breaches(tree),
        lambda: _purity_breaches(tree, edges),
        lambda: _loop_breaches(tree),
        lambda: _cycles(tree),
        lambda: _stale_edges(tree, edges),
    ]
    return sorted({sentence for check in checks for sentence in check()})


def _layer_breaches(tree: Tree) -> Iterator[str]:
    for name in tree.modules:
        own = room(name)
        if own == "locustfiles":
            continue
        if own not in MAY_REACH:
            yield f"{name} is in no known room"
            continue
        allowed = MAY_REACH[own] | {own, "root"}
        for reached in tree.closure(name):
            if room(reached.name) not in allowed:
                yield f"{name} reaches {reached.name}: {own} must not know {room(reached.name)}"


def _locustfile_breaches(tree: Tree) -> Iterator[str]:
    for name, source in tree.modules.items():
        if room(name) == "locustfiles":
            for target in source.ours:
                if room(target) not in (LOCUSTFILES_MAY_IMPORT, "root", "locustfiles"):
                    yield f"{name} imports {target}: a locustfile knows servebench.drive only"


def _purity_breaches(tree: Tree, edges: Edges) -> Iterator[str]:
    for name, source in tree.modules.items():
        if room(name) not in PURE_ROOMS:
            continue
        if name not in edges.sockets:
            for module in _touched(source.outside, IMPURE_MODULES):
                yield f"{name} imports {module}: {room(name)} is pure"
        if name not in edges.sockets | edges.files:
            for module in _touched(source.outside, FILE_MODULES):
                yield f"{name} imports {module}: only the named edges of {room(name)} touch files"
            for call in _calls(source.tree):
                if call in FILE_CALLS:
                    yield f"{name} calls {call}(): only the named edges of {room(name)} touch files"
        for call in _clock_and_random(source.tree):
            yield f"{name} uses {call}: {room(name)} takes time and randomness as values"


def _loop_breaches(tree: Tree) -> Iterator[str]:
    """gevent and asyncio never both within reach of one module; the cli starts without either."""
    for name in tree.modules:
        reached = set[str]().union(*(source.outside for source in tree.closure(name)))
        green, asynchronous = _touched(reached, GEVENT_SIDE), _touched(reached, ASYNCIO_SIDE)
        if green and asynchronous:
            yield f"{name} reaches both {green[0]} and {asynchronous[0]}"
        if room(name) in ("cli", "main"):
            at_start = set[str]().union(
                *(source.outside_at_start for source in tree.closure(name, at_start=True))
            )
            for module in _touched(at_start, GEVENT_SIDE | ASYNCIO_SIDE):
                yield f"{name} imports {module} at start: the cli imports neither loop until it must"


def _cycles(tree: Tree) -> Iterator[str]:
    """Cycles of imports that run, by depth-first search; a module's own packages do not count.

    Two nouns of one room may name each other's type: that imports nothing. The layers count such names too.
    """
    state: dict[str, int] = {}

    def visit(name: str, path: list[str]) -> Iterator[str]:
        state[name] = 1
        for target in sorted(tree.modules[name].ours_running - set(parents(name))):
            if state.get(target) == 1:
                loop = path[path.index(target) :]
                start = loop.index(min(loop))
                yield "import cycle: " + " -> ".join([*loop[start:], *loop[:start], loop[start]])
            elif target not in state:
                yield from visit(target, [*path, target])
        state[name] = 2

    for name in sorted(tree.modules):
        if name not in state:
            yield from visit(name, [name])


def _stale_edges(tree: Tree, edges: Edges) -> Iterator[str]:
    for name in edges.files | edges.sockets:
        if name not in tree.modules:
            yield f"{name} is a named edge but no module"


def _touched(imported: Iterable[str], listed: frozenset[str]) -> list[str]:
    """Those listed modules that imported names, or names something inside of."""
    return sorted({name for item in imported for name in (item, *parents(item)) if name in listed})


def _calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr


def _clock_and_random(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        owner = ast.unparse(node.value)
        if node.attr in CLOCK_CALLS and owner.split(".")[-1] in ("datetime", "date"):
            yield f"{owner}.{node.attr}"
        if owner in ("np.random", "numpy.random") and node.attr not in SEEDED_RANDOM:
            yield f"{owner}.{node.attr}"
