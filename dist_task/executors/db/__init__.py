"""`db` tasks: one change of rows in somebody else's database, with its effect exactly once."""

from .executor import DbExecutor

__all__ = ["DbExecutor"]
