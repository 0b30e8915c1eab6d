"""Order and cycles of a dependency graph. Pure and without recursion: chains of 10,000 tasks are ordinary."""

from collections import deque
from collections.abc import Mapping, Sequence

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
