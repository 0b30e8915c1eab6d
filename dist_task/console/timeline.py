"""When what happened in a transaction: per task run the wait for its turn, attempts, pauses and waits. Pure.

Everything is in per cent of the whole time, so that the template can draw it at any width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from dist_task.console.display import of_direction, span
from dist_task.console.text import brief, short
from dist_task.states import RunStatus

MOST_ROWS, MOST_BARS = 40, 100
NARROWEST = 0.4  # per cent: what took no time is seen all the same
TICKS = 4
LAST_MARK = 98.0  # per cent: a sign needs room
FAILURES = frozenset({"failed", "unknown", "worker_lost"})


@dataclass(frozen=True, slots=True)
class Step:
    """An entry of the log that ends an attempt or a wait."""

    task_id: str
    op: str
    item: int
    attempt: int
    event: str
    word: str
    error_code: str
    started_at: datetime | None
    at: datetime

    @property
    def key(self) -> tuple[str, str, int]:
        return self.task_id, self.op, self.item


@dataclass(frozen=True, slots=True)
class Spell:
    """A stretch of time of one run: `kind` is queue, attempt, pause or wait."""

    kind: str
    state: str
    text: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Bar:
    kind: str
    state: str
    title: str
    x: float
    width: float

    @property
    def mark(self) -> float:
        """Where the sign of a failure stands: after the bar, or before it where that is too near the end."""
        end = round(self.x + self.width + 0.4, 2)
        return end if end <= LAST_MARK else max(round(self.x - (100 - LAST_MARK), 2), 0.0)


@dataclass(frozen=True, slots=True)
class Row:
    label: str
    url: str
    took: str
    bars: tuple[Bar, ...]
    spoken: str


@dataclass(frozen=True, slots=True)
class Timeline:
    rows: tuple[Row, ...]
    ticks: tuple[tuple[float, str], ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class Line:
    """What is drawn in one row: a run with its name and when its turn came."""

    key: tuple[str, str, int]
    name: str
    url: str
    status: str
    word: str
    attempt: int
    ready_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None


def timeline(
    lines: Sequence[Line], *, steps: Sequence[Step], began_at: datetime, ended_at: datetime, now: datetime
) -> Timeline:
    """Rows in the order of their first attempt; `ended_at` is now where the transaction goes on."""
    by_run: dict[tuple[str, str, int], list[Step]] = {}
    for step in steps:
        by_run.setdefault(step.key, []).append(step)
    shown = sorted((line for line in lines if line.started_at or line.due_at), key=lambda line: _first(line, by_run))
    spells = {line.key: spells_of(line, steps=by_run.get(line.key, []), now=now) for line in shown[:MOST_ROWS]}
    last = max([ended_at, *(spell.end for found in spells.values() for spell in found)])
    scale = _Scale(began_at, last)
    most = max(2, MOST_BARS // max(1, len(shown[:MOST_ROWS])))
    rows = tuple(_row(line, spells=spells[line.key], scale=scale, most=most) for line in shown[:MOST_ROWS])
    return Timeline(rows, scale.ticks(), left_out=max(0, len(shown) - MOST_ROWS))


def _first(line: Line, by_run: Mapping[tuple[str, str, int], list[Step]]) -> datetime:
    starts = [step.started_at for step in by_run.get(line.key, []) if step.started_at]
    return min(starts, default=line.started_at or line.ready_at)


def spells_of(line: Line, *, steps: Sequence[Step], now: datetime) -> list[Spell]:
    """The run's time without gaps, from its turn to its end."""
    found: list[Spell] = []
    at, waits = line.ready_at, False
    for step in steps:
        if step.started_at is None:
            continue
        if step.started_at > at and not waits:
            found.append(_pause(at, step.started_at, is_first=not found))
        began = at if waits else step.started_at
        found.append(_wait(began, step.at) if waits else _attempt(step, began=began))
        at, waits = step.at, step.event == "waiting"
    return [*found, *_rest(line, at=at, waits=waits, is_first=not found, now=now)]


def _rest(line: Line, *, at: datetime, waits: bool, is_first: bool, now: datetime) -> list[Spell]:
    """What goes on right now."""
    if line.status == RunStatus.RUNNING and line.started_at:
        text = _("attempt %(n)d, under way") % {"n": line.attempt}
        before = [_pause(at, line.started_at, is_first=is_first)] if line.started_at > at else []
        return [*before, Spell("attempt", "running", text, line.started_at, max(now, line.started_at))]
    if line.status == RunStatus.WAITING or waits:
        return [_wait(at, max(now, at))]
    if line.status == RunStatus.PENDING and line.due_at:
        return [_pause(at, max(now, at), is_first=is_first)]
    return []


def _pause(start: datetime, end: datetime, *, is_first: bool) -> Spell:
    if is_first:
        return Spell("queue", "queue", _("waits for a worker"), start, end)
    return Spell("pause", "retrying", _("pause before the next attempt"), start, end)


def _wait(start: datetime, end: datetime) -> Spell:
    return Spell("wait", "waiting", _("waits for an answer, or for a time"), start, end)


def _attempt(step: Step, *, began: datetime) -> Spell:
    state = "failed" if step.event in FAILURES else "waiting" if step.event == "waiting" else "success"
    text = _("attempt %(n)d: %(what)s") % {"n": step.attempt, "what": step.word}
    return Spell("attempt", state, f"{text} {brief(step.error_code, 40)}".strip(), began, max(step.at, began))


@dataclass(frozen=True, slots=True)
class _Scale:
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return max((self.end - self.start).total_seconds(), 0.001)

    def percent(self, at: datetime) -> float:
        share = (at - self.start).total_seconds() / self.seconds
        return round(min(max(share, 0.0), 1.0) * 100, 2)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        parts = range(TICKS + 1)
        return tuple((100 * part / TICKS, span(timedelta(seconds=self.seconds * part / TICKS))) for part in parts)


def _row(line: Line, *, spells: Sequence[Spell], scale: _Scale, most: int) -> Row:
    kept = [*spells[: most // 2], *spells[-most // 2 :]] if len(spells) > most else spells
    bars = tuple(_bar(spell, scale=scale) for spell in kept)
    task_id, op, item = line.key
    label = (f"[{item}] " if item >= 0 else "") + of_direction(short(line.name, 40), op)
    took = span(spells[-1].end - spells[0].start) if spells else "–"
    attempts = sum(spell.kind == "attempt" for spell in spells)
    spoken = _("%(status)s; attempts: %(n)d; %(took)s") % {"status": line.word, "n": attempts, "took": took}
    return Row(label, line.url, took, bars, spoken)


def _bar(spell: Spell, *, scale: _Scale) -> Bar:
    x = scale.percent(spell.start)
    width = max(scale.percent(spell.end) - x, NARROWEST)
    title = f"{spell.text}, {span(spell.end - spell.start)}"
    return Bar(spell.kind, spell.state, title, x=min(x, 100 - width), width=round(width, 2))
