"""What can go wrong in a database, each as the ExecutionError that says whether the change may have been made."""

from __future__ import annotations

from django.utils.translation import gettext as _

from dist_task.errors import ExecutionError

from .access import BARRIER_TABLE

NO_BARRIER_TABLE = "NO_BARRIER_TABLE"
LONGEST_REASON = 500


def refused(problems: list[str]) -> ExecutionError:
    return ExecutionError("; ".join(problems), code="INVALID_INPUT", permanent=True)


def unsound_connection(name: str, problems: list[str]) -> ExecutionError:
    named = {"connection": name, "problems": "; ".join(problems)}
    message = _("the connection %(connection)s is not sound: %(problems)s") % named
    return ExecutionError(message, code="BAD_CONNECTION", permanent=True)


def by_database(reason: str, *, code: str, permanent: bool) -> ExecutionError:
    """The database said no, and what was begun is rolled back."""
    return ExecutionError(
        _("the database refused: %(reason)s") % {"reason": shown(reason)}, code=code, permanent=permanent
    )


def lost(reason: object) -> ExecutionError:
    """Before the commit was sent: nothing is done."""
    message = _("the connection to the database was lost before the commit: %(reason)s") % {"reason": shown(reason)}
    return ExecutionError(message, code="CONNECTION_LOST")


def late() -> ExecutionError:
    """Before the commit was sent: nothing is done."""
    return ExecutionError(_("the database did not answer in time; nothing was committed"), code="TIMEOUT")


def commit_unknown(reason: object) -> ExecutionError:
    message = _("the commit was sent, and its answer did not come: %(reason)s") % {"reason": shown(reason)}
    return ExecutionError(message, code="COMMIT_UNKNOWN", unknown=True)


def own_database(name: str) -> ExecutionError:
    message = _("the connection %(connection)s leads to the database of a dist_task service, which no task may change")
    return ExecutionError(message % {"connection": name}, code="OWN_DATABASE", permanent=True)


def no_transactions(table: str) -> ExecutionError:
    message = _("the table %(table)s cannot be rolled back: its storage engine knows no transactions")
    return ExecutionError(message % {"table": table}, code="NO_TRANSACTIONS", permanent=True)


def no_unique_key(columns: tuple[str, ...]) -> ExecutionError:
    message = _("there is no unique key of just these columns: %(columns)s") % {"columns": ", ".join(columns)}
    return ExecutionError(message, code="NO_UNIQUE_KEY", permanent=True)


def no_barrier_table(sql: str) -> ExecutionError:
    message = _("the table %(table)s is missing in that database; make it: %(sql)s")
    return ExecutionError(message % {"table": BARRIER_TABLE, "sql": sql}, code=NO_BARRIER_TABLE, permanent=True)


def too_many_rows(rows: int, *, most: int) -> ExecutionError:
    message = _("%(rows)d rows would be touched, and the connection allows %(most)d; nothing was changed")
    return ExecutionError(message % {"rows": rows, "most": most}, code="TOO_MANY_ROWS", permanent=True)


def unexpected_rows(rows: int, *, expected: int) -> ExecutionError:
    message = _("%(rows)d rows would be touched, and %(expected)d were expected; nothing was changed")
    return ExecutionError(message % {"rows": rows, "expected": expected}, code="UNEXPECTED_ROWS", permanent=True)


def output_too_large(most: int) -> ExecutionError:
    message = _("the returned rows are larger than %(most)d bytes; nothing was changed") % {"most": most}
    return ExecutionError(message, code="RESPONSE_TOO_LARGE", permanent=True)


def shown(reason: object) -> str:
    return " ".join(str(reason).split())[:LONGEST_REASON]
