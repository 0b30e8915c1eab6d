"""The verbs of operators, for the API, the admin and the commands alike.

Each verb locks the transaction, checks the state, changes rows and writes who did what and why, in one database
transaction. Of two operators one wins and the other is told.
"""

from .answers import CALLBACK_RESULTS, FAILURE, HEARTBEAT, SUCCESS, decide_approval, take_callback
from .exceptions import (
    LONGEST_DELAY_SECONDS,
    assign_exception,
    comment_exception,
    handle_exception,
    retry_exception,
    retry_repaired,
    seen_of,
)
from .rerun import plan_rerun, rerun_transaction
from .runs import complete_run, complete_wait, skip_run
from .transactions import (
    awaiting_request,
    cancel_transaction,
    compensate_transaction,
    pause_descendants,
    pause_transaction,
    resume_transaction,
    retry_again,
    retry_transaction,
    undo_below,
    undo_transaction,
)

__all__ = [
    "CALLBACK_RESULTS",
    "FAILURE",
    "HEARTBEAT",
    "LONGEST_DELAY_SECONDS",
    "SUCCESS",
    "assign_exception",
    "awaiting_request",
    "cancel_transaction",
    "comment_exception",
    "compensate_transaction",
    "complete_run",
    "complete_wait",
    "decide_approval",
    "handle_exception",
    "pause_descendants",
    "pause_transaction",
    "resume_transaction",
    "plan_rerun",
    "rerun_transaction",
    "retry_again",
    "retry_exception",
    "retry_repaired",
    "retry_transaction",
    "seen_of",
    "skip_run",
    "take_callback",
    "undo_below",
    "undo_transaction",
]
