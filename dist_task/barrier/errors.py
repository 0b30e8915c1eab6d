"""What the barrier refuses. Errors of the database come through as they are."""


class BarrierError(Exception):
    """The work must not be done on this connection, or what was done was not kept. Nothing was committed."""


class InvalidCall(BarrierError):
    """The headers are not those of a call of dist_task."""
