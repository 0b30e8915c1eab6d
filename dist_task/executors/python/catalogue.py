"""The functions that this process knows: those that the modules of tasks have registered.

The modules are `dist_tasks` of every installed app, and those that the setting `TASK_MODULES` names. They are imported
once, when a function is first looked for. One that cannot be imported takes none of the others along.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec

from django.apps import apps
from django.core.signals import setting_changed

from dist_task.conf import conf
from dist_task.functions import REGISTERED, Function

from .arguments import input_problems

MODULE = "dist_tasks"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Catalogue:
    """`faults`: module or function to why it is of no use."""

    faults: dict[str, str] = field(default_factory=dict)
    _is_loaded: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def load(self) -> None:
        with self._lock:
            if self._is_loaded:
                return
            for name in task_modules():
                self._import(name)
            for function in REGISTERED.values():
                if problems := input_problems(function):
                    self.faults[function.name] = "; ".join(problems)
            self._is_loaded = True

    @property
    def is_loaded(self) -> bool:
        return self._is_loaded

    def functions(self) -> Mapping[str, Function]:
        self.load()
        return {name: function for name, function in REGISTERED.items() if name not in self.faults}

    def get(self, name: str) -> Function | None:
        self.load()
        return REGISTERED.get(name) if name not in self.faults else None

    def forget(self) -> None:
        """The modules stay imported, and their functions registered."""
        with self._lock:
            self.faults.clear()
            self._is_loaded = False

    def _import(self, name: str) -> None:
        try:
            import_module(name)
        except (Exception, SystemExit) as error:  # # a stranger's module
            logger.exception("The task module %s cannot be imported", name)
            self.faults[name] = f"{type(error).__name__}: {error}"


def task_modules() -> list[str]:
    """In the order in which they are imported, each once."""
    found = [name for config in apps.get_app_configs() if find_spec(name := f"{config.name}.{MODULE}") is not None]
    return list(dict.fromkeys([*found, *conf.TASK_MODULES]))


CATALOGUE = Catalogue()


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting in ("DIST_TASK", "INSTALLED_APPS"):
        CATALOGUE.forget()


setting_changed.connect(_forget)
