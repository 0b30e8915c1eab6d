"""A typed view of our own settings: `from dist_task.conf import conf`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed


@dataclass(frozen=True, slots=True)
class Conf:
    """What `settings.DIST_TASK` may hold, with its defaults. Durations are in seconds, sizes in bytes."""

    EXECUTORS: tuple[str, ...] = (
        "dist_task.executors.http.HttpExecutor",
        "dist_task.executors.rpc.RpcExecutor",
        "dist_task.executors.db.DbExecutor",
        "dist_task.executors.mq.MqExecutor",
        "dist_task.executors.python.PythonExecutor",
        "dist_task.executors.noop.NoopExecutor",
        "dist_task.executors.wait.WaitExecutor",
        "dist_task.executors.approval.ApprovalExecutor",
        "dist_task.executors.subflow.SubflowExecutor",
    )
    LEASE_SECONDS: float = 15.0
    STOP_GRACE_SECONDS: float = 6.0
    DRAIN_SECONDS: float = 600.0
    POLL_SECONDS: float = 1.0
    SLOTS: int = 128
    CLAIM_BATCH: int = 64
    SLOTS_PER_TARGET: int = 64
    SLOTS_PER_TRANSACTION: int = 32
    BLOCKING_THREADS: int = 32
    TASK_MODULES: tuple[str, ...] = ()
    PYTHON_PROCESSES: int = 2
    PYTHON_PROCESS_CALLS: int = 1_000
    MAX_BODY_BYTES: int = 1_048_576
    MAX_RESPONSE_BYTES: int = 1_048_576
    MAX_LOG_BYTES: int = 8_192
    ALLOWED_HOSTS_OUT: tuple[str, ...] = field(default=())
    ALLOW_PRIVATE_TARGETS: bool = False
    CONNECTIONS: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    PUBLIC_URL: str = ""
    SECRETS_DIR: str = ""
    SECRETS_KEYS: tuple[str, ...] = field(default=(), repr=False)
    ANONYMOUS_API: bool = False
    READY_OLDEST_DUE_SECONDS: float = 60.0
    TOKEN_DAYS: int = 90
    FOUR_EYES: tuple[str, ...] = ()
    FOUR_EYES_HOURS: float = 24.0


class _CurrentConf:
    """Reads `settings.DIST_TASK` once, and again when a test overrides it."""

    @cached_property
    def _values(self) -> Conf:
        given = dict(settings.DIST_TASK)
        if unknown := given.keys() - {each.name for each in fields(Conf)}:
            raise ImproperlyConfigured(f"settings.DIST_TASK has no {', '.join(sorted(unknown))}")
        return Conf(**given)

    def __getattr__(self, name: str) -> object:
        """Asked once for each name: the hot path reads settings many times per call."""
        value = self.__dict__[name] = getattr(self._values, name)
        return value


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "DIST_TASK":
        conf.__dict__.clear()


conf: Conf = _CurrentConf()  # type: ignore[assignment]  # same attributes, read late
setting_changed.connect(_forget)
