"""Places at which a test can make this process die, stand still or fail. Off, they are calls of an empty function.

DIST_TASK_FAILPOINTS switches them on (never in the production profile): `name:n:action` joined by `;`. `name` may
be narrowed to `name/key`. `n` is the number of the hit, `n+` all from the n-th on, `*` all. Actions: `kill` (SIGKILL),
`stop` (SIGSTOP), `raise` (an error that nobody expects), `cut` (as if the database's connection broke), `hang=SECONDS`
(the thread stands still), `on` (for flags, see `is_on`). Hits are counted in the file DIST_TASK_FAILPOINTS_FILE, over
all processes that share it: the n-th hit happens once, however often a worker is started anew. Standard library only.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

VARIABLE = "DIST_TASK_FAILPOINTS"
FILE_VARIABLE = "DIST_TASK_FAILPOINTS_FILE"


class Injected(Exception):
    """Raised by the action `raise`."""


@dataclass(frozen=True, slots=True)
class Failpoint:
    name: str
    first: int
    last: int | None
    action: str

    @classmethod
    def parse(cls, text: str) -> Failpoint:
        name, count, action = text.split(":")
        if action.partition("=")[0] not in ACTIONS:
            raise ValueError(f"unknown action of a failpoint: {action}")
        if count == "*":
            return cls(name, first=1, last=None, action=action)
        first = int(count.rstrip("+"))
        return cls(name, first=first, last=None if count.endswith("+") else first, action=action)

    def matches(self, name: str, *, hit_number: int) -> bool:
        return name == self.name and self.first <= hit_number and (self.last is None or hit_number <= self.last)


def _kill(argument: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop(argument: str) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _raise(argument: str) -> None:
    raise Injected("a failpoint")


def _cut(argument: str) -> None:
    import psycopg2

    raise psycopg2.OperationalError("a failpoint cut the connection")


def _hang(argument: str) -> None:
    time.sleep(float(argument))


def _on(argument: str) -> None:
    """A flag: `is_on` tells."""


ACTIONS: dict[str, Callable[[str], None]] = {
    "kill": _kill,
    "stop": _stop,
    "raise": _raise,
    "cut": _cut,
    "hang": _hang,
    "on": _on,
}


def _nothing(name: str, key: str = "") -> None:
    """What `hit` is while failpoints are off."""


def _never(name: str) -> bool:
    return False


def _hit(name: str, key: str = "") -> None:
    """This place was reached; with a key `name/key` counts as well."""
    for full in (name, f"{name}/{key}") if key else (name,):
        number = _count(full)
        for point in points:
            if point.matches(full, hit_number=number):
                verb, _separator, argument = point.action.partition("=")
                ACTIONS[verb](argument)


def _is_on(name: str) -> bool:
    return any(point.name == name and point.action == "on" for point in points)


def _count(name: str) -> int:
    """The number of this hit, over all processes that share the file."""
    path = os.environ.get(FILE_VARIABLE)
    if not path:
        _counts[name] = _counts.get(name, 0) + 1
        return _counts[name]
    with open(path, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        number = file.read().split("\n").count(name) + 1
        file.write(f"{name}\n")
    return number


def _switched_on() -> bool:
    if VARIABLE not in os.environ:
        return False
    if os.environ.get("DIST_TASK_PROFILE", "development") == "production":
        raise RuntimeError(f"The production profile refuses to start with failpoints: unset {VARIABLE}.")
    return True


_counts: dict[str, int] = {}
points: list[Failpoint] = []
hit, is_on = _nothing, _never
if _switched_on():
    points = [Failpoint.parse(each) for each in os.environ[VARIABLE].split(";") if each]
    hit, is_on = _hit, _is_on
