"""What an executor is, and the registry of those that are switched on. No models here: a call comes as a value."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from hashlib import blake2b, sha1
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from dist_task.conf import conf

from .secrets import SECRETS, Place

KEY_NAMESPACE = uuid.UUID("6b4f3d1e-6f0c-4c36-9d0e-0a8d0f5d7c11").bytes
ENTRY_POINTS = "dist_task.executors"


class TaskCall(NamedTuple):
    """One attempt, as an executor sees it. `timeout_seconds` is the total deadline of the attempt.

    `secret_places`: where in the input the definition names secrets, which are filled in for the call alone.
    """

    instance_id: str
    task_id: str
    op: str
    item: int
    attempt: int
    config: Mapping[str, Any]
    input: Mapping[str, Any]
    timeout_seconds: float
    secret_places: tuple[Place, ...] = ()

    @property
    def filled_input(self) -> Mapping[str, Any]:
        """Never to be logged or stored. Raises ExecutionError (NO_SECRET)."""
        if not self.secret_places:
            return self.input
        filled: Mapping[str, Any] = SECRETS.fill_places(self.input, places=self.secret_places)
        return filled

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of a task run, over automatic and manual retries."""
        return name_based_uuid(KEY_NAMESPACE, f"{self.instance_id}|{self.task_id}|{self.item}|{self.op}")

    @property
    def headers(self) -> dict[str, str]:
        """What a called service is told about the attempt."""
        key = self.idempotency_key
        told = {
            "Idempotency-Key": key,
            "X-Dist-Task-Instance": self.instance_id,
            "X-Dist-Task-Task": self.task_id,
            "X-Dist-Task-Op": self.op,
            "X-Dist-Task-Attempt": str(self.attempt),
            "traceparent": f"00-{trace_id(self.instance_id)}-{_span_id(key, attempt=self.attempt)}-01",
        }
        if self.item >= 0:
            told["X-Dist-Task-Item"] = str(self.item)
        return told


@lru_cache(maxsize=1_000)
def trace_id(instance_id: str) -> str:
    """Of a transaction, the same for all its attempts (W3C Trace Context, 3.2.2.3)."""
    return blake2b(instance_id.encode(), digest_size=16).hexdigest()


def _span_id(key: str, *, attempt: int) -> str:
    """Of an attempt: the first random bits of its run's key, counted up."""
    return f"{int(key[:8] + key[24:32], 16) + attempt & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def name_based_uuid(namespace: bytes, name: str) -> str:
    """`str(uuid.uuid5(namespace, name))`, without the objects (RFC 9562, 5.5)."""
    text = sha1(namespace + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


class Result(NamedTuple):
    """A definite success. `request` and `response` go to the log and are masked and capped already.

    `note`: what an operator finds in the log beside the success, such as that its output is not all that came.
    """

    output: Any = None
    request: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    note: str = ""


def noted(note: str, *, changes: str) -> str:
    """A result's note, and what was changed in its output so that it could be stored ("" for nothing)."""
    stored = f"the output could not be stored as it came: {changes}" if changes else ""
    return "; ".join(filter(None, (note, stored)))


@dataclass(frozen=True, slots=True)
class Ongoing:
    """The work goes on without the worker. `waits_for` is a WaitsFor: what ends the wait, in `seconds` at the latest.

    A service that is to be asked again gives the seconds until then, or None for the interval of the task's retry;
    `least_seconds` is its own floor, and `within` for how many seconds it may go on saying so.
    """

    waits_for: str
    seconds: float | None = None
    least_seconds: float = 0.0
    within: float | None = None
    request: dict[str, Any] | None = field(default=None)
    response: dict[str, Any] | None = field(default=None)


class Executor(Protocol):
    """Runs one kind of task. One instance serves a worker's event loop for the worker's whole life.

    `is_trusted`, where a class says it and says true: its calls do nothing but wait on sockets, and keep their
    deadlines by themselves. No second clock runs for them, and they are not the first to be suspected of a
    worker's death.

    `is_harmless`, where a class says it and says true: an attempt does nothing to anybody outside, so one that was lost
    with its worker is made again as if it had not begun.

    `execute` and `close` may be plain functions: then they run in threads (see `threads`).

    `fixed_keys`, where a class says it: the keys of its config that choose where a call goes or what it may touch. No
    template may stand there. In a `url` one may stand in path and query. `reachable`, where a class has it: what
    templates of other tasks look at, made of an output.

    `examples`, where a class says it: an example of each key of its config, for the hints of refusals.

    `changes_nothing`, where a class has it: whether a call of this config only reads, so that there is never anything
    to undo. `advise`, where a class has it: like `check_config`, what may be written and should not be.

    `caps`, where one has it: target to how many calls it may have at once. `apart`, where a class says it: the path
    (`module:name`) of what makes its calls where they are made in a process of their own.

    `check_input(config, input)`, where a class has it: like `check_config`, for the `input` block of a task, whose
    templates are not filled in yet.

    `check_connection`, where a class has it, makes its kind one that connections can be registered for: like
    `check_config`, for the configuration of a connection (see `connections`).
    """

    kind: ClassVar[str]

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        """One sentence per problem, when a flow is posted; empty when the configuration is sound.

        A sentence may be a `dist_task.problems.Fault`, which says which key it is about.
        """

    def target(self, config: Mapping[str, Any]) -> str:
        """What the cap per target counts: a host, a connection's name; empty when nothing outside is called."""

    async def execute(self, call: TaskCall) -> Result | Ongoing:
        """Raises `ExecutionError` for every failure that it understands."""

    async def close(self) -> None:
        """Gives back connections when the worker ends."""


def connection_check_of(executor: Executor) -> Callable[[Mapping[str, Any]], list[str]] | None:
    """What judges a connection of its kind; None where it goes through none."""
    return getattr(executor, "check_connection", None)


def input_check_of(executor: Executor) -> Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]] | None:
    """What judges the `input` block of its tasks; None where it takes whatever it is given."""
    return getattr(executor, "check_input", None)


def caps_of_executors() -> list[Mapping[str, int]]:
    """Of those that know what their targets take."""
    return [caps for executor in executors().values() if (caps := getattr(executor, "caps", None)) is not None]


@cache
def executors() -> Mapping[str, Executor]:
    """Kind to executor: those of the setting `EXECUTORS`, then those that installed packages offer."""
    classes = [import_string(path) for path in conf.EXECUTORS]
    classes += [point.load() for point in entry_points(group=ENTRY_POINTS)]
    found: dict[str, Executor] = {}
    for cls in classes:
        found.setdefault(cls.kind, cls())
    return MappingProxyType(found)


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "DIST_TASK":
        executors.cache_clear()


setting_changed.connect(_forget)
