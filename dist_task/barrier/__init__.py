"""The barrier of a called service: each call does its work once, whatever order and number the calls come in.

    with barrier(connection, call_of(request.headers)) as turn:
        if turn.is_mine:
            turn.answer = deduct(connection, request)
    return turn.answer

For the services that dist_task calls, not for dist_task: it needs nothing but the standard library, and the folder can
be copied. docs/services.md has an example for each kind of connection.
"""

from .calls import Call, call_of
from .errors import BarrierError, InvalidCall
from .passage import Turn, barrier, create_table
from .table import SQL

__all__ = ["SQL", "BarrierError", "Call", "InvalidCall", "Turn", "barrier", "call_of", "create_table"]
