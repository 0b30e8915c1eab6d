"""The Python errors of this project; a child exists only where somebody catches it separately.

The word *exception* belongs to `exceptions_app`: a failure of a task that somebody may have to look at.
"""

from __future__ import annotations


class DistTaskError(Exception):
    """Base of all our errors; `str(error)` is a sentence for the person who caused or must mend it."""


class DatabaseUnavailable(DistTaskError):
    """The embedded PostgreSQL cannot be started or reached; the message says what to do."""


class InvalidRequest(DistTaskError):
    """The caller asked for something that is wrong in itself (HTTP 400)."""


class IllegalMove(InvalidRequest):
    """The row is not in a state from which this move is legal (HTTP 400 on documented endpoints)."""


class NotFound(DistTaskError):
    """Nothing has this name (HTTP 404)."""


class Gone(DistTaskError):
    """It is too late: what the caller answers has been answered, or nobody waits for it any more (HTTP 410)."""


class Conflict(DistTaskError):
    """The instance_id is taken by a transaction of another flow or other params (HTTP 409)."""


class ExecutionError(DistTaskError):
    """An attempt failed. The one error that executors raise.

    `permanent`: trying again cannot help. `unknown`: the work may have been done all the same (a read time-out,
    a reset after the request was sent). `retry_after_seconds`: the service's own floor for the next try.
    `request` and `response` go to the log, already masked and capped.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        permanent: bool = False,
        unknown: bool = False,
        retry_after_seconds: float = 0.0,
        request: dict[str, object] | None = None,
        response: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.permanent = permanent
        self.unknown = unknown
        self.retry_after_seconds = retry_after_seconds
        self.request = request
        self.response = response


class LeaseLost(DistTaskError):
    """This worker's lease ran out: what it holds may already belong to somebody else."""
