"""The modules of a source tree and what each imports, read with ast: nothing is imported.

Importing a.b.c also runs a and a.b, so closures follow the parents too.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_TYPES_ONLY = frozenset({"TYPE_CHECKING", "typing.TYPE_CHECKING"})
_NOT_AT_START = _TYPES_ONLY | {"__name__"}


@dataclass(frozen=True, slots=True)
class Source:
    """One module. ours, outside: its imports anywhere; running: not for types; at_start: not in functions."""

    name: str
    tree: ast.Module
    ours: frozenset[str]
    outside: frozenset[str]
    ours_running: frozenset[str]
    ours_at_start: frozenset[str]
    outside_at_start: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tree:
    modules: Mapping[str, Source] = field(default_factory=dict)

    def closure(self, name: str, *, at_start: bool = False) -> Iterator[Source]:
        """The modules that importing name can bring in, itself and parents included."""
        seen, todo = set[str](), [name]
        while todo:
            current = todo.pop()
            if current in seen:
                continue
            seen.add(current)
            source = self.modules[current]
            yield source
            todo += source.ours_at_start if at_start else source.ours
            todo += [parent for parent in parents(current) if parent in self.modules]


def read_tree(packages: Mapping[str, Path]) -> Tree:
    """packages: import name -> its folder, as {"servebench": Path("src/servebench")}."""
    paths = {
        _module_name(package, path.relative_to(folder)): path
        for package, folder in packages.items()
        for path in sorted(folder.rglob("*.py"))
    }
    return Tree({name: _read(name, path, frozenset(paths)) for name, path in paths.items()})


def _read(name: str, path: Path, known: frozenset[str]) -> Source:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    everywhere = set(_imports(ast.walk(tree), package, known))
    running = set(_imports(_unguarded(tree, _TYPES_ONLY), package, known))
    at_start = set(_imports(_unguarded(tree, _NOT_AT_START, functions=False), package, known))
    ours = {target for target in everywhere if target in known}
    return Source(
        name=name,
        tree=tree,
        ours=frozenset(ours - {name}),
        outside=frozenset(everywhere - ours),
        ours_running=frozenset((running & ours) - {name}),
        ours_at_start=frozenset((at_start & ours) - {name}),
        outside_at_start=frozenset(at_start - ours),
    )


def _unguarded(tree: ast.Module, guards: frozenset[str], *, functions: bool = True) -> Iterator[ast.AST]:
    """Every node but the insides of `if GUARD` and, without functions, of functions."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield node
        if not functions and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).split(" ")[0] in guards:
            todo += node.orelse
            continue
        todo += ast.iter_child_nodes(node)


def _imports(nodes: Iterable[ast.AST], package: str, known: frozenset[str]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            # `from a.b import c`: the module a.b.c where there is one, else the module a.b
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                ours = inner in known or base.split(".")[0] in {name.split(".")[0] for name in known}
                yield inner if inner in known or not ours else base
                if not ours:
                    yield base
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "importlib.import_module",
            "__import__",
        ):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def _module_name(package: str, relative: Path) -> str:
    parts = [package, *relative.with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]
