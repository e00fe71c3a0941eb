"""The prefixes that a KV cache holds, as runs of blocks in a radix tree: what a prompt of a thousand blocks
costs is the few runs it crosses, not its blocks.

A run is a stretch of one chain of keys whose blocks have the same holders and were last used together, and
which branches at its end only. Runs are cut where a prompt leaves them and joined where nothing keeps them
apart. Order of eviction is that of single blocks: least recently released first, of one release the deepest
first. Counts blocks; knows no pool and no tokens.

Keys are chained: equal keys at i mean equal keys before i, by which a run is compared at its ends.
"""

from collections import OrderedDict
from collections.abc import Iterator

Keys = tuple[int, ...]


class Run:
    """The blocks start .. end - 1 of the chain `keys`. holders: sequences that hold all of it; 0: idle."""

    __slots__ = ("children", "end", "holders", "keys", "parent", "start")

    def __init__(self, keys: Keys, start: int, end: int, holders: int, parent: "Run | None") -> None:
        self.keys, self.start, self.end, self.holders, self.parent = keys, start, end, holders, parent
        self.children: dict[int, Run] = {}  # by their first key


class PrefixTree:
    """blocks: cached, in use or not; idle_blocks: of these, held by nobody.

    A holder is known by its tail, the run at whose end what it holds ends; root holds nothing.
    """

    def __init__(self) -> None:
        self.root = Run((), 0, 0, 1, None)
        self.blocks = self.idle_blocks = 0
        self._idle: OrderedDict[Run, None] = OrderedDict()  # next victim first; always a leaf

    def find(self, keys: Keys, limit: int, below: Run) -> tuple[Run, int, int]:
        """The run in which keys[:limit] ends, as far as it is cached; how many of its blocks are, and how
        many of these idle. below: a run that it is known to begin with, whose blocks count as not idle."""
        run, depth, idle = below, below.end, 0
        while depth < limit:
            child = run.children.get(keys[depth])
            if child is None:
                break
            end = min(child.end, limit)
            if keys[end - 1] != child.keys[end - 1]:
                end = _parting(keys, child.keys, depth + 1, end - 1)
            if not child.holders:
                idle += end - depth
            run, depth = child, end
            if end < child.end:
                break
        return run, depth, idle

    def hold(self, run: Run, depth: int, tail: Run) -> Run:
        """A holder goes down from tail to depth within run, as find() gave them; returns its new tail."""
        if depth < run.end:
            run = _cut(run, depth)
        held: Run | None = run
        while held is not None and held is not tail:
            if not held.holders:
                self._idle.pop(held, None)  # what was just cut off an idle run isn't in the order
                self.idle_blocks -= held.end - held.start
            held.holders += 1
            held = held.parent
        return run

    def extend(self, tail: Run, keys: Keys, end: int) -> Run:
        """A holder adds the blocks of keys from its tail to end, none of which is cached; its new tail."""
        self.blocks += end - tail.end
        if tail.holders == 1 and not tail.children and tail is not self.root:
            tail.keys, tail.end = keys, end
            return tail
        child = tail.children[keys[tail.end]] = Run(keys, tail.end, end, 1, tail)
        return child

    def release(self, tail: Run) -> None:
        """A holder lets go of all it holds; what nobody else holds is idle."""
        run, idled = tail, None
        while run.parent is not None:
            parent = run.parent
            run.holders -= 1
            if not run.holders:
                self.idle_blocks += run.end - run.start
            child = next(iter(run.children.values())) if len(run.children) == 1 else None
            if child is not None and child.holders == run.holders and (run.holders or child is idled):
                _join(run, child)
            elif not run.holders:
                self._idle[run] = None
                idled = run
            run = parent

    def evict(self, blocks: int) -> None:
        """So many of the idle blocks, at most all; the others stay a beginning of what was there."""
        blocks = min(blocks, self.idle_blocks)
        self.blocks -= blocks
        self.idle_blocks -= blocks
        while blocks > 0:
            run = next(iter(self._idle))
            taken = min(blocks, run.end - run.start)
            run.end -= taken
            blocks -= taken
            if run.end == run.start:
                del self._idle[run]
                assert run.parent is not None  # the root is never idle
                del run.parent.children[run.keys[run.start]]

    def keys(self) -> Iterator[int]:
        """Of all blocks, in no order. Walks the whole tree: to look at, not to serve by."""
        runs = [self.root]
        while runs:
            run = runs.pop()
            yield from run.keys[run.start : run.end]
            runs += run.children.values()


def _parting(keys: Keys, others: Keys, low: int, high: int) -> int:
    """The first index in low..high at which the chains differ, which they do at high."""
    while low < high:
        middle = (low + high) // 2
        if keys[middle] == others[middle]:
            low = middle + 1
        else:
            high = middle
    return low


def _cut(run: Run, depth: int) -> Run:
    """The part above depth, a run of its own now. Who holds `run` to its end still has it as its tail."""
    assert run.parent is not None  # the root has no blocks
    upper = Run(run.keys, run.start, depth, run.holders, run.parent)
    run.parent.children[run.keys[run.start]] = upper
    upper.children[run.keys[depth]] = run
    run.start, run.parent = depth, upper
    return upper


def _join(run: Run, child: Run) -> None:
    """Makes a run part of its only child, with which it has all holders in common: it is nobody's tail."""
    assert run.parent is not None
    child.start, child.parent = run.start, run.parent
    run.parent.children[child.keys[child.start]] = child
