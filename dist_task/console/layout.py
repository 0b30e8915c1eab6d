"""Places for the nodes of a graph without cycles: layers by the longest way from a root, few crossings. Pure.

The method is Sugiyama's: edges that pass layers get a place of their own in each, the order within a layer is the mean
of the neighbours' places over a few sweeps, and positions follow the neighbours without ever changing that order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

SWEEPS = 8
WIDEST = 1_180
"""Pixels that a page has on an ordinary screen."""
WAY = 26
"""Pixels for an edge that passes a layer."""

Cell = tuple[str, int]  # a node at its own layer, or the way of its edges through a later one


@dataclass(frozen=True, slots=True)
class Size:
    """Of a node in pixels, and the room between layers and between neighbours."""

    width: int = 176
    height: int = 48
    between_layers: int = 52
    between_neighbours: int = 18


@dataclass(frozen=True, slots=True)
class Edge:
    source: str
    target: str
    path: str  # as in SVG's `d`


@dataclass(frozen=True, slots=True)
class Layout:
    width: int
    height: int
    is_upright: bool  # layers go down the page instead of along it
    places: Mapping[str, tuple[int, int]]  # the upper left corner of each node
    edges: tuple[Edge, ...]


def layers_of(depends_on: Mapping[str, Sequence[str]], *, order: Sequence[str]) -> dict[str, int]:
    """Each node one layer behind the last of those that it depends on; `order` has dependencies first."""
    layer: dict[str, int] = {}
    for node in order:
        layer[node] = max((layer[other] + 1 for other in depends_on[node]), default=0)
    return layer


def lay_out(depends_on: Mapping[str, Sequence[str]], *, order: Sequence[str], size: Size) -> Layout:
    layer = layers_of(depends_on, order=order)
    links = _links(depends_on, layer=layer)
    rows = _ordered(_rows(depends_on, layer=layer, order=order), links=links)
    across = max((sum(_is_node(cell, layer=layer) for cell in row) for row in rows), default=1)
    is_upright = _is_upright(len(rows), across=across, size=size)
    full = (size.width if is_upright else size.height) + size.between_neighbours
    room = {cell: float(full if _is_node(cell, layer=layer) else WAY) for row in rows for cell in row}
    position = _positioned(rows, links=links, room=room)
    return _drawn(depends_on, layer=layer, position=position, size=size, is_upright=is_upright)


def _is_node(cell: Cell, *, layer: Mapping[str, int]) -> bool:
    return layer[cell[0]] == cell[1]


def _is_upright(depth: int, *, across: int, size: Size) -> bool:
    along_the_page = depth * (size.width + size.between_layers)
    down_the_page = across * (size.width + size.between_neighbours)
    return along_the_page > WIDEST and down_the_page < along_the_page


def _rows(
    depends_on: Mapping[str, Sequence[str]], *, layer: Mapping[str, int], order: Sequence[str]
) -> list[list[Cell]]:
    """The cells of each layer; a node has one more in every layer that an edge of it passes."""
    last = {node: layer[node] for node in order}
    for node in order:
        for other in depends_on[node]:
            last[other] = max(last[other], layer[node] - 1)
    rows: list[list[Cell]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for node in order:
        for each in range(layer[node], last[node] + 1):
            rows[each].append((node, each))
    return rows


def _links(depends_on: Mapping[str, Sequence[str]], *, layer: Mapping[str, int]) -> dict[Cell, set[Cell]]:
    """Cell to its neighbours in the layers before and after it."""
    links: dict[Cell, set[Cell]] = {}
    for node, needed in depends_on.items():
        for other in needed:
            cells = [(other, each) for each in range(layer[other], layer[node])] + [(node, layer[node])]
            for before, after in pairwise(cells):
                links.setdefault(before, set()).add(after)
                links.setdefault(after, set()).add(before)
    return links


def _ordered(rows: list[list[Cell]], *, links: Mapping[Cell, set[Cell]]) -> list[list[Cell]]:
    for sweep in range(SWEEPS):
        step = 1 if sweep % 2 == 0 else -1
        indexes = range(len(rows)) if step == 1 else range(len(rows) - 1, -1, -1)
        for index in indexes:
            if not 0 <= index - step < len(rows):
                continue
            place = {cell: number for number, cell in enumerate(rows[index - step])}
            mean = {cell: _mean(cell, place=place, links=links, own=number) for number, cell in enumerate(rows[index])}
            rows[index].sort(key=mean.__getitem__)
    return rows


def _mean(cell: Cell, *, place: Mapping[Cell, float], links: Mapping[Cell, set[Cell]], own: float) -> float:
    found = [place[other] for other in links.get(cell, ()) if other in place]
    return fmean(found) if found else own


def _positioned(
    rows: list[list[Cell]], *, links: Mapping[Cell, set[Cell]], room: Mapping[Cell, float]
) -> dict[Cell, float]:
    """Where the middle of each cell is across its layer."""
    position: dict[Cell, float] = {}
    for row in rows:
        _spread(row, wanted=[0.0] * len(row), room=room, position=position)
    for sweep in range(SWEEPS):
        step = 1 if sweep % 2 == 0 else -1
        for index in range(len(rows)) if step == 1 else range(len(rows) - 1, -1, -1):
            if 0 <= index - step < len(rows):
                place = {cell: position[cell] for cell in rows[index - step]}
                wanted = [_mean(cell, place=place, links=links, own=position[cell]) for cell in rows[index]]
                _spread(rows[index], wanted=wanted, room=room, position=position)
    least = min((at - room[cell] / 2 for cell, at in position.items()), default=0.0)
    return {cell: at - least for cell, at in position.items()}


def _spread(
    row: list[Cell], *, wanted: Sequence[float], room: Mapping[Cell, float], position: dict[Cell, float]
) -> None:
    """Each cell near where it wants to be, with room between any two: the middle of pushing from either side."""
    apart = [(room[one] + room[other]) / 2 for one, other in pairwise(row)]
    rightwards, leftwards = list(wanted), list(wanted)
    for number, least in enumerate(apart, 1):
        rightwards[number] = max(wanted[number], rightwards[number - 1] + least)
    for number in range(len(apart) - 1, -1, -1):
        leftwards[number] = min(wanted[number], leftwards[number + 1] - apart[number])
    for cell, right, left in zip(row, rightwards, leftwards, strict=True):
        position[cell] = (right + left) / 2


def _drawn(
    depends_on: Mapping[str, Sequence[str]],
    *,
    layer: Mapping[str, int],
    position: Mapping[Cell, float],
    size: Size,
    is_upright: bool,
) -> Layout:
    pitch = (size.height if is_upright else size.width) + size.between_layers
    half = (size.width if is_upright else size.height) // 2
    margin = 8

    def corner(cell: Cell) -> tuple[int, int]:
        along, across = cell[1] * pitch + margin, round(position[cell]) - half + margin
        return (across, along) if is_upright else (along, across)

    places = {node: corner((node, each)) for node, each in layer.items()}
    edges = []
    for node, needed in depends_on.items():
        for other in needed:
            passed = [corner((other, each)) for each in range(layer[other] + 1, layer[node])]
            path = edge_path([places[other], *passed, places[node]], size=size, is_upright=is_upright)
            edges.append(Edge(other, node, path))
    width = max((x for x, _y in places.values()), default=0) + size.width + margin
    height = max((y for _x, y in places.values()), default=0) + size.height + margin
    ways = [corner(cell) for cell in position]
    width = max([width, *(x + size.width // 2 + margin for x, _y in ways)])
    height = max([height, *(y + size.height // 2 + margin for _x, y in ways)])
    return Layout(width, height, is_upright, places, tuple(edges))


def edge_path(corners: Sequence[tuple[int, int]], *, size: Size, is_upright: bool) -> str:
    """From the end of the first node through the cells between to the beginning of the last: a smooth line."""
    half_x, half_y = size.width // 2, size.height // 2
    if is_upright:
        points = [(x + half_x, y) for x, y in corners]
        stops = [(points[0][0], points[0][1] + size.height)]
        stops += [stop for x, y in points[1:-1] for stop in ((x, y), (x, y + size.height))] + [points[-1]]
    else:
        points = [(x, y + half_y) for x, y in corners]
        stops = [(points[0][0] + size.width, points[0][1])]
        stops += [stop for x, y in points[1:-1] for stop in ((x, y), (x + size.width, y))] + [points[-1]]
    parts = [f"M{stops[0][0]} {stops[0][1]}"]
    for (x1, y1), (x2, y2) in zip(stops[::2], stops[1::2], strict=True):
        parts.append(_curve(x1, y1, x2, y2, is_upright=is_upright, first=len(parts) == 1))
    return "".join(parts)


def _curve(x1: int, y1: int, x2: int, y2: int, *, is_upright: bool, first: bool) -> str:
    start = "" if first else f"L{x1} {y1}"
    if is_upright:
        middle = (y1 + y2) // 2
        return f"{start}C{x1} {middle} {x2} {middle} {x2} {y2}"
    middle = (x1 + x2) // 2
    return f"{start}C{middle} {y1} {middle} {y2} {x2} {y2}"
