"""A flow as a drawing: its tasks by state, what depends on what, and what undoes what. Pure; the template draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from dist_task.console.display import SYMBOLS
from dist_task.console.layout import Layout, Size, edge_path, lay_out
from dist_task.console.text import brief, narrowed
from dist_task.states import Op
from flows.definition import FlowDefinition

MOST_NODES, MOST_EDGES = 60, 180
"""Beyond this a drawing is a carpet: the page has the list of the tasks then."""
STRIP = 20  # pixels that a compensation takes below its task
NAME_COLUMNS, WORD_COLUMNS, SIGN_COLUMNS = 18, 25, 3


@dataclass(frozen=True, slots=True)
class Mark:
    """What a node says of its task."""

    state: str
    word: str
    note: str = ""
    heat: int = 0  # 1 to 4: how often it fails


@dataclass(frozen=True, slots=True)
class Strip:
    state: str
    symbol: str
    text: str
    url: str
    title: str


@dataclass(frozen=True, slots=True)
class Node:
    task_id: str
    x: int
    y: int
    name: str
    symbol: str
    text: str
    title: str
    url: str
    mark: Mark
    is_selected: bool
    can_be_undone: bool
    undo: Strip | None


@dataclass(frozen=True, slots=True)
class Graph:
    size: Size
    body: int  # height of a node without its strip
    layout: Layout
    nodes: tuple[Node, ...]
    undo_paths: tuple[str, ...]
    title: str

    @property
    def strip_height(self) -> int:
        return STRIP


Link = Callable[[str, str], str]
"""Task id and direction to where its node leads."""


def draw(
    definition: FlowDefinition,
    *,
    marks: Mapping[str, Mark],
    link: Link,
    undoing: Mapping[str, Mark] | None = None,
    selected: tuple[str, str] = ("", ""),
) -> Graph | None:
    """None where there is nothing to draw, or too much."""
    tasks = definition.tasks
    edges = sum(len(task.depends_on) for task in tasks.values())
    if not tasks or len(tasks) > MOST_NODES or edges > MOST_EDGES:
        return None
    undone = undoing or {}
    body = Size().height
    size = Size(height=body + STRIP) if undone else Size()
    depends_on = {task.id: task.depends_on for task in tasks.values()}
    layout = lay_out(depends_on, order=definition.order, size=size)
    nodes = tuple(
        _node(
            definition, task_id, place=layout.places[task_id], marks=marks, undone=undone, link=link, selected=selected
        )
        for task_id in definition.order
    )
    paths = tuple(_undo_paths(definition, undone=undone, layout=layout, size=size))
    title = _("%(count)d tasks, each with its status and what it depends on") % {"count": len(tasks)}
    return Graph(size, body, layout, nodes, paths, title)


def _node(
    definition: FlowDefinition,
    task_id: str,
    *,
    place: tuple[int, int],
    marks: Mapping[str, Mark],
    undone: Mapping[str, Mark],
    link: Link,
    selected: tuple[str, str],
) -> Node:
    task, mark = definition.tasks[task_id], marks[task_id]
    said = " · ".join(part for part in (mark.word, mark.note) if part)
    title = f"{brief(task.name, 80)} ({task_id}, {task.type}): {said}"
    return Node(
        task_id=task_id,
        x=place[0],
        y=place[1],
        name=narrowed(task.name, NAME_COLUMNS),
        symbol=SYMBOLS.get(mark.state, "•"),
        text=narrowed(said, WORD_COLUMNS - SIGN_COLUMNS if task.compensate else WORD_COLUMNS),
        title=title,
        url=link(task_id, Op.ACTION),
        mark=mark,
        is_selected=selected[0] == task_id,
        can_be_undone=task.compensate is not None,
        undo=_strip(task.name, task_id, mark=undone[task_id], link=link) if task_id in undone else None,
    )


def _strip(name: str, task_id: str, *, mark: Mark, link: Link) -> Strip:
    said = " · ".join(part for part in (mark.word, mark.note) if part)
    title = _("undo: %(name)s") % {"name": f"{brief(name, 80)}: {said}"}
    text = narrowed(_("undo: %(name)s") % {"name": said}, WORD_COLUMNS)
    return Strip(mark.state, SYMBOLS.get(mark.state, "•"), text, link(task_id, Op.COMPENSATE), title)


def _undo_paths(definition: FlowDefinition, *, undone: Mapping[str, Mark], layout: Layout, size: Size) -> Iterator[str]:
    """From the strip of each task that is undone back to those of the tasks that are undone right after it."""
    before = _undone_before(definition, undone=undone)
    shift = size.height // 2 - STRIP // 2
    for task_id in undone:
        for other in sorted(before.get(task_id, ())):
            (x1, y1), (x2, y2) = layout.places[other], layout.places[task_id]
            if layout.is_upright:
                start, end = (x2 + size.width // 3 - size.width // 2, y2), (x1 + size.width // 3 - size.width // 2, y1)
            else:
                start, end = (x2, y2 + shift), (x1, y1 + shift)
            yield _backwards(end, start, size=size, is_upright=layout.is_upright)


def _backwards(first: tuple[int, int], last: tuple[int, int], *, size: Size, is_upright: bool) -> str:
    """The way of an edge, drawn from its end to its beginning."""
    forward = edge_path([first, last], size=size, is_upright=is_upright)
    start, curve = forward[1:].split("C")
    x1, y1, x2, y2, x3, y3 = curve.split()
    return f"M{x3} {y3}C{x2} {y2} {x1} {y1} {start}"


def _undone_before(definition: FlowDefinition, *, undone: Mapping[str, Mark]) -> dict[str, frozenset[str]]:
    """Each task with the nearest ones behind it in the graph that are undone."""
    found: dict[str, frozenset[str]] = {}
    for task_id in definition.order:
        nearest: frozenset[str] = frozenset()
        for other in definition.tasks[task_id].depends_on:
            nearest |= frozenset({other}) if other in undone else found[other]
        found[task_id] = nearest
    return found
