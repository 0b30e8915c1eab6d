"""Tasks that are Python functions: see `dist_task.functions` for how one is registered."""

from .executor import PythonExecutor

__all__ = ["PythonExecutor"]
