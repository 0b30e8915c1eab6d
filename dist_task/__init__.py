"""dist_task: distributed transactions that a team can see, retry, skip and undo."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import ExecutionError
    from .functions import Call, task

__version__ = "0.1.0"
__all__ = ["Call", "ExecutionError", "task"]
_HOMES = {"Call": "functions", "ExecutionError": "errors", "task": "functions"}


def __getattr__(name: str) -> object:
    """What modules of tasks import; looked up late, since others import no more of us than they need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
