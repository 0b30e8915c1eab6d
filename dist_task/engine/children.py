"""Transactions that transactions have started (`subflow`): begun, retried and undone for their parent, which is told
how they ended.

The parent's row is locked first and the child's after it, so that of two who meet one waits. A child *owes* its parent
an answer (`owes_parent`) from the moment at which it is asked for something until the parent has been told, at the
least once: by the worker that ended it, else by housekeeping. The answer comes like that of a callback.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from dist_task.errors import DistTaskError, ExecutionError, NotFound
from dist_task.executors.base import Ongoing, Result, TaskCall
from dist_task.models import LogEvent, TaskRun
from dist_task.payload import dumps
from dist_task.states import WHOLE, CompensationStatus, Op, RunStatus, TransactionStatus, WaitsFor
from flows.models import Flow
from flows.registry_rows import load
from flows.task_spec import SUBFLOW
from transactions.models import Transaction

from . import operate
from .start import wake_workers
from .store import leases, starts, verbs

ACTOR = "system"
MOST_DEPTH = 10
LONGEST_ID = 64
MOST_OUTPUT_BYTES = 262_144
"""So much of what the tasks of a child gave is handed on to its parent."""
DONE, FAILED, NONE = CompensationStatus.DONE, CompensationStatus.FAILED, CompensationStatus.NONE


def child_id(call: TaskCall) -> str:
    """The same for every attempt of a task run; readable as far as an instance id has room for it. A task id has no
    colon, so no task below can have the name of an item or of an undoing."""
    name = f"{call.instance_id}.{call.task_id}"
    name += "" if call.item == WHOLE else f":{call.item}"
    name += "" if call.op == Op.ACTION else f":{call.op}"
    if len(name) <= LONGEST_ID:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    return f"{name[: LONGEST_ID - len(digest) - 1]}:{digest}"


@transaction.atomic
def ask(call: TaskCall, *, transaction_id: int, worker_id: int) -> Result | Ongoing:
    """An attempt of a subflow: its transaction is started, or goes on, or is undone.

    Raises ExecutionError for every reason for which that fails. It may be asked twice: nothing is done twice for that.
    """
    parent = Transaction.objects.select_for_update(no_key=True).filter(pk=transaction_id, owner=worker_id).first()
    if parent is None or (parent.cancelling and call.op == Op.ACTION):
        raise ExecutionError(
            "its transaction is cancelled, or held by another worker", code="CANCELLED", permanent=True
        )
    result = _asked(call, parent=parent)
    if parent.paused:  # while this attempt was in flight
        operate.pause_descendants(parent, actor=ACTOR)
    return result


def _asked(call: TaskCall, *, parent: Transaction) -> Result | Ongoing:
    is_undoing = call.op == Op.COMPENSATE and not call.config  # a compensation may start a flow of its own, too
    child = _child_of(parent, call=call, op=Op.ACTION if is_undoing else call.op)
    if is_undoing:
        return _undo(child)
    if child is None:
        return _begin(call, parent=parent)
    return _go_on(child, is_answered=_is_answered(call, parent=parent))


@transaction.atomic
def tell(child_pk: int) -> None:
    """Tells the parent of an ended transaction how it ended, if it has not been told yet."""
    parent_pk = Transaction.objects.filter(pk=child_pk, owes_parent=True).values_list("parent_id", flat=True).first()
    if parent_pk is None:
        return
    try:
        parent = verbs.lock(parent_pk)
    except NotFound:  # pruned
        Transaction.objects.filter(pk=child_pk).update(owes_parent=False)
        return
    child = Transaction.objects.select_for_update(no_key=True).filter(pk=child_pk, owes_parent=True).first()
    if child is None or not _has_ended(child):
        return
    run = _asking_run(child, parent=parent)
    if run is not None and run.op != child.parent_op and child.compensation == NONE and not _is_over(run):
        _undo(child)  # it has only been cancelled, to be undone now
        return
    if run is not None:
        _answer(run, child=child, parent=parent)
    Transaction.objects.filter(pk=child.pk).update(owes_parent=False)


def owing(cursor: Any, *, limit: int) -> list[int]:
    """Ended transactions whose parents have not been told yet."""
    cursor.execute(
        """
        SELECT id FROM transactions_transaction
        WHERE owes_parent AND completed_at IS NOT NULL AND compensation <> 'running' ORDER BY id LIMIT %s
        """,
        (limit,),
    )
    return [row[0] for row in cursor.fetchall()]


# What is asked of a child.


def _begin(call: TaskCall, *, parent: Transaction) -> Ongoing:
    flow = _flow(call)
    _refuse_depth(parent)
    _check_params(flow, params=call.input)
    instance_id = child_id(call)
    with connection.cursor() as cursor:
        is_new = starts.insert_child(
            cursor,
            instance_id=instance_id,
            flow_id=flow.pk,
            params=dict(call.input),
            actor=parent.created_by,
            parent=starts.Parent(parent.pk, call.task_id, call.op, call.item),
        )
    if not is_new:
        message = _("the instance id %(id)s is taken by a transaction that was started otherwise")
        raise ExecutionError(message % {"id": instance_id}, code="INSTANCE_ID_TAKEN", permanent=True)
    transaction.on_commit(wake_workers)
    return Ongoing(WaitsFor.CHILD, response={"instance_id": instance_id, "flow_id": flow.pk})


def _go_on(child: Transaction, *, is_answered: bool) -> Result | Ongoing:
    """Asked for again: what it owes or has answered from before comes first; one that failed is tried again."""
    is_new_wish = not child.owes_parent and not is_answered
    if is_new_wish and child.status == TransactionStatus.FAILED and child.compensation == NONE:
        operate.retry_again(child.instance_id, actor=ACTOR, remark=_("its parent was retried"))
        return Ongoing(WaitsFor.CHILD, response={"instance_id": child.instance_id})
    if not _has_ended(child):
        return Ongoing(WaitsFor.CHILD, response={"instance_id": child.instance_id})
    return _result(_told(child, is_undoing=False))


def _undo(child: Transaction | None) -> Result | Ongoing:
    """One that still runs, since nobody waited for its end any more, is cancelled first."""
    if child is None or child.compensation == DONE:
        return Result(output=None)
    waiting = Ongoing(WaitsFor.CHILD, response={"instance_id": child.instance_id})
    if child.compensation == CompensationStatus.RUNNING or child.cancelling:
        return waiting
    if child.compensation == FAILED and child.owes_parent:
        return _result(_told(child, is_undoing=True))
    try:
        if child.is_final:
            operate.undo_below(child.instance_id, actor=ACTOR, remark=_("its parent is compensated"))
        else:
            Transaction.objects.filter(pk=child.pk).update(owes_parent=True)
            operate.cancel_transaction(child.instance_id, actor=ACTOR, remark=_("its parent is compensated"))
    except DistTaskError as error:
        raise ExecutionError(str(error), code="CHILD_NOT_UNDONE") from error
    return waiting


def _flow(call: TaskCall) -> Flow:
    """The version that is to run now."""
    startable = Flow.objects.visible().filter(is_active=True)
    if "flow_id" in call.config:
        flow = startable.filter(pk=call.config["flow_id"]).first()
    else:
        flow = startable.filter(name=call.config["flow"]).order_by("-version").first()
    if flow is None:
        message = _("there is no active flow %(flow)s") % {"flow": next(iter(call.config.values()))}
        raise ExecutionError(message, code="NO_FLOW", permanent=True)
    return flow


def _check_params(flow: Flow, *, params: Any) -> None:
    schema = load(flow).params_schema
    if schema is not None:
        schema.check(params)  # InvalidValue, which is the attempt's INVALID_INPUT


def _refuse_depth(parent: Transaction) -> None:
    depth, above = 1, parent.parent_id
    while above is not None:
        depth += 1
        above = Transaction.objects.filter(pk=above).values_list("parent_id", flat=True).first()
        if depth >= MOST_DEPTH:
            message = _("transactions start each other %(most)d deep: is this flow its own subflow?")
            raise ExecutionError(message % {"most": MOST_DEPTH}, code="SUBFLOW_TOO_DEEP", permanent=True)


# What a parent is told.


class Told(NamedTuple):
    """How a child ended, as its parent's run sees it. `maybe_executed`: not all of what it did has been undone."""

    ok: bool
    output: Any = None
    code: str = ""
    message: str = ""
    maybe_executed: bool = False

    def as_answer(self) -> dict[str, Any]:
        """See verbs.answer."""
        if self.ok:
            return {"ok": True, "output": self.output}
        return {"ok": False, "code": self.code, "message": self.message, "unknown": self.maybe_executed}


def _told(child: Transaction, *, is_undoing: bool) -> Told:
    named = {"id": child.instance_id}
    if is_undoing:
        if child.compensation == DONE:
            return Told(ok=True)
        message = _("the compensation of transaction %(id)s failed: repair it there") % named
        return Told(ok=False, code="CHILD_NOT_UNDONE", message=message, maybe_executed=True)
    if child.status == TransactionStatus.SUCCESS and child.compensation == NONE:
        return Told(ok=True, output=_output(child))
    code, message = {
        TransactionStatus.FAILED: ("CHILD_FAILED", _("transaction %(id)s failed: repair it there, and this goes on")),
        TransactionStatus.CANCELLED: ("CHILD_CANCELLED", _("transaction %(id)s was cancelled")),
    }.get(TransactionStatus(child.status), ("CHILD_UNDONE", _("transaction %(id)s was undone")))
    return Told(ok=False, code=code, message=message % named, maybe_executed=_has_done_something(child))


def _result(told: Told) -> Result:
    if told.ok:
        return Result(output=told.output)
    raise ExecutionError(told.message, code=told.code, permanent=True, unknown=told.maybe_executed)


def _output(child: Transaction) -> dict[str, Any]:
    """What its tasks gave, by task; left out where that is more than MOST_OUTPUT_BYTES."""
    gave_something = Q(status=RunStatus.SUCCESS) | Q(status=RunStatus.SKIPPED, output__isnull=False)
    runs = TaskRun.objects.filter(gave_something, transaction=child, op=Op.ACTION, item=WHOLE)
    tasks: dict[str, Any] = {}
    size = 0
    for task_id, output in runs.values_list("task_id", "output").iterator(chunk_size=100):
        size += len(dumps(output))
        if size > MOST_OUTPUT_BYTES:
            return {"instance_id": child.instance_id, "note": "what its tasks gave is too large to be handed on"}
        tasks[task_id] = output
    return {"instance_id": child.instance_id, "tasks": tasks}


def _has_done_something(child: Transaction) -> bool:
    if child.compensation == DONE:
        return False
    runs = TaskRun.objects.filter(transaction=child, op=Op.ACTION)
    return runs.filter(status=RunStatus.SUCCESS).exists() or runs.filter(maybe_executed=True).exists()


def _has_ended(child: Transaction) -> bool:
    return child.is_final and child.compensation != CompensationStatus.RUNNING


def _child_of(parent: Transaction, *, call: TaskCall, op: str) -> Transaction | None:
    """The one that this run has started, or the forward run, with its row locked."""
    children = Transaction.objects.select_for_update(no_key=True).filter(parent=parent, parent_op=op)
    return children.filter(parent_task_id=call.task_id, parent_item=call.item).first()


def _is_answered(call: TaskCall, *, parent: Transaction) -> bool:
    """An answer is kept for this attempt: a worker died after it had asked, or the transaction ended before it did."""
    runs = TaskRun.objects.filter(transaction=parent, task_id=call.task_id, op=call.op, item=call.item)
    return runs.filter(answer__isnull=False).exists()


def _asking_run(child: Transaction, *, parent: Transaction) -> TaskRun | None:
    """The run of the parent that asked last: its undoing, where that has begun, else what started it."""
    runs = TaskRun.objects.filter(transaction=parent, task_id=child.parent_task_id, item=child.parent_item)
    undo = load(parent.flow).tasks[child.parent_task_id].compensate
    if child.parent_op == Op.ACTION and undo is not None and undo.type == SUBFLOW and not undo.config:
        return runs.filter(op=Op.COMPENSATE).first() or runs.filter(op=Op.ACTION).first()
    return runs.filter(op=child.parent_op).first()


def _is_over(run: TaskRun) -> bool:
    return run.finished_at is not None


def _answer(run: TaskRun, *, child: Transaction, parent: Transaction) -> None:
    """To a run that waits, or is about to. One that has failed for its child is tried again when that was repaired."""
    is_undoing = run.op == Op.COMPENSATE and child.parent_op == Op.ACTION
    told = _told(child, is_undoing=is_undoing)
    if verbs.call_back(run_id=run.pk, value=told.as_answer()):
        of_run = {"task_id": run.task_id, "op": run.op, "item": run.item, "attempt": run.attempt}
        detail = {"child": child.instance_id, "status": child.status, "compensation": child.compensation}
        verbs.write_log(parent, event=LogEvent.ANSWERED, actor=ACTOR, message="", detail=detail, **of_run)
        verbs.wake(parent)
        transaction.on_commit(_wake_its_owner)
    elif told.ok and run.status == RunStatus.FAILED:
        operate.retry_repaired(parent, run=run, remark=_("%(id)s was repaired") % {"id": child.instance_id})


def _wake_its_owner() -> None:
    """Whoever holds the parent, if anybody does: it is no idle one that has to hear of the answer."""
    with connection.cursor() as cursor:
        leases.notify_all(cursor)
