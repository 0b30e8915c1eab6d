"""dist_task: distributed transactions that a team can see, retry, skip and undo."""

__version__ = "0.1.0"
