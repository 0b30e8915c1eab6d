"""Order and cycles of a dependency graph. Pure and without recursion: chains of 10,000 tasks are ordinary."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

Graph = Mapping[str, Sequence[str]]  # each task with those it depends on; all of them are keys


def dependents_of(depends_on: Graph) -> dict[str, tuple[str, ...]]:
    """The same edges the other way round: each task with those that wait for it."""
    dependents: dict[str, list[str]] = {task: [] for task in depends_on}
    for task, needed in depends_on.items():
        for other in needed:
            dependents[other].append(task)
    return {task: tuple(waiting) for task, waiting in dependents.items()}


def topological_order(depends_on: Graph, *, dependents: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Dependencies first, otherwise in the given order. Tasks in or behind a cycle are left out."""
    open_count = {task: len(needed) for task, needed in depends_on.items()}
    ready = deque(task for task, count in open_count.items() if not count)
    order = []
    while ready:
        task = ready.popleft()
        order.append(task)
        for waiting in dependents[task]:
            open_count[waiting] -= 1
            if not open_count[waiting]:
                ready.append(waiting)
    return tuple(order)


def find_cycle(depends_on: Graph, *, order: Sequence[str]) -> tuple[str, ...]:
    """One cycle such as (a, b, a), each depending on the next; empty where the order is complete."""
    ordered = set(order)
    task = next((task for task in depends_on if task not in ordered), None)
    if task is None:
        return ()
    # Every task outside the order depends on another one outside it: following these comes back in the end.
    position: dict[str, int] = {}
    while task not in position:
        position[task] = len(position)
        task = next(other for other in depends_on[task] if other not in ordered)
    return (*list(position)[position[task] :], task)


class Ancestry:
    """Which tasks have ended, whenever another one begins: all that it depends on, directly or through others.

    Nothing is computed before somebody asks: a mesh of a million edges takes a fraction of a second.
    """

    def __init__(self, depends_on: Graph, *, order: Sequence[str]) -> None:
        self._depends_on = depends_on
        self._order = order

    def of(self, task: str) -> "Ancestors":
        return Ancestors(self, task)

    @cached_property
    def positions(self) -> Mapping[str, int]:
        return {task: position for position, task in enumerate(self._depends_on)}

    @cached_property
    def bits(self) -> Mapping[str, int]:
        """Each task in `order` with a bit for the position of each of its ancestors."""
        found: dict[str, int] = {}
        for task in self._order:
            bits = 0
            for other in self._depends_on[task]:
                bits |= found[other] | 1 << self.positions[other]
            found[task] = bits
        return found


class Ancestors:
    """Those of one task. In or behind a cycle, which is reported as such, every task is one."""

    __slots__ = ("_ancestry", "_task")

    def __init__(self, ancestry: Ancestry, task: str) -> None:
        self._ancestry = ancestry
        self._task = task

    def __contains__(self, other: object) -> bool:
        position = self._ancestry.positions.get(str(other))
        return position is not None and bool(self._bits >> position & 1)

    def __iter__(self) -> Iterator[str]:
        bits = self._bits
        return (task for task, position in self._ancestry.positions.items() if bits >> position & 1)

    @property
    def _bits(self) -> int:
        return self._ancestry.bits.get(self._task, -1)
