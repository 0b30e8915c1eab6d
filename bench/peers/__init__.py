"""Other systems, doing the same work in the same run."""

NAMES = ("restate", "restate-typescript", "dbos", "celery", "procrastinate")
