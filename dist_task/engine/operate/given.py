"""What people give in place of a service or of the flow: the output of a task, the input of one that is tried again.

It is data, checked as that of a start: nothing in it is read as a template.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import IllegalMove
from dist_task.models import TaskRun
from dist_task.payload import capped, check_strict, dumps, mask
from dist_task.problems import InvalidValue, Problem
from dist_task.states import WHOLE, Op
from flows.fields import convert
from flows.registry_rows import load
from transactions.models import Transaction

from .frame import spec_of


def checked_output(value: Any) -> Any:
    """Raises InvalidRequest for what no request may hold, and for what is too large."""
    _check_value(value, name="output")
    return value


def checked_input(value: Any, *, txn: Transaction, run: TaskRun, force: bool) -> dict[str, Any]:
    """What a run is given from its next attempt on, converted by the fields of its task's registry entry.

    Raises IllegalMove where it would come too late: the key of the attempts stays the same, so a service that did the
    work answers with what it did.
    """
    if not isinstance(value, dict):
        raise InvalidValue([Problem("input", _("must be an object"))])
    _check_value(value, name="input")
    if run.item == WHOLE and is_fan(txn, run=run):
        raise IllegalMove(_("the task %(task)s has items, each with its own input") % {"task": run.task_id})
    if _has_child(txn, run=run):
        message = _("the transaction that the task %(task)s has started keeps its params")
        raise IllegalMove(message % {"task": run.task_id})
    if run.maybe_executed and not force:
        message = _("the task %(task)s may have been executed with the input that it had; force overrides that")
        raise IllegalMove(message % {"task": run.task_id})
    spec = spec_of(txn, run=run)
    if spec.inputs and (run.op == Op.ACTION or spec.input is not None):
        return convert(spec.inputs, value, path="input")
    return value


def is_fan(txn: Transaction, *, run: TaskRun) -> bool:
    return load(txn.flow).tasks[run.task_id].foreach is not None


def for_audit(value: Any) -> Any:
    """As attempts are logged: masked, then cut."""
    return capped(mask(value), limit=conf.MAX_LOG_BYTES)


def _check_value(value: Any, *, name: str) -> None:
    if problems := check_strict(value, path=name):
        raise InvalidValue(problems)
    if len(dumps(value).encode()) > conf.MAX_BODY_BYTES:
        message = _("must have at most %(most)d bytes as JSON") % {"most": conf.MAX_BODY_BYTES}
        raise InvalidValue([Problem(name, message)])


def _has_child(txn: Transaction, *, run: TaskRun) -> bool:
    named = {"parent_task_id": run.task_id, "parent_op": run.op, "parent_item": run.item}
    return Transaction.objects.filter(parent=txn, **named).exists()
