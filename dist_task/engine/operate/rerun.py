"""Running an ended transaction again, from some of its tasks on, under a new name."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _

from dist_task.engine import rerun
from dist_task.engine.remarks import checked_reason
from dist_task.engine.start import check_instance_id, wake_workers
from dist_task.engine.store import kin, starts, verbs
from dist_task.engine.store.claims import MOST_GATHERED_BYTES
from dist_task.errors import Conflict, IllegalMove, NotFound
from dist_task.models import LogEvent, TaskRun
from dist_task.problems import InvalidValue, Problem, shown
from dist_task.states import CompensationStatus, Op, Resolution, RunStatus
from flows.registry_rows import load
from transactions.models import Transaction

from .frame import locked, log, refuse_run_again

MOST_NAMED = 20
MOST_IDS_TRIED = 20
ENDED = (CompensationStatus.NONE, CompensationStatus.DONE)


def plan_rerun(instance_id: str, *, tasks: Sequence[str] = ()) -> rerun.Rerun:
    """What `rerun_transaction` would do now; raises what it would raise, but for what takes `force`."""
    found = Transaction.objects.select_related("flow").filter(instance_id=instance_id).first()
    if found is None:
        raise NotFound(_("transaction %(id)s does not exist") % {"id": instance_id[:64]})
    return _planned(found, tasks=tasks)


@transaction.atomic
def rerun_transaction(
    instance_id: str, *, actor: str, remark: str, tasks: Sequence[str] = (), new_id: str = "", force: bool = False
) -> Transaction:
    """The new transaction: it runs these `tasks` and all that depends on them, all tasks where none is named. What
    the others gave is carried over.

    What has done something and is to do it again takes `force`: it is called under another Idempotency-Key. What the
    first one has done is undone by its own compensation, after that of the new one. Its exceptions are handled.
    """
    remark = checked_reason(remark)
    if new_id:
        check_instance_id(new_id)
    txn = locked(instance_id)
    plan = _planned(txn, tasks=tasks)
    if plan.done and not force:
        message = _("%(tasks)s may have done their work, and would do it again; force overrides that")
        raise IllegalMove(message % {"tasks": _named(plan.done)})
    again = _insert(txn, new_id=new_id, actor=actor)
    _carry_over(txn, to=again, plan=plan)
    closed = verbs.close_exceptions(txn, actor=actor, remark=remark, resolution=Resolution.RERUN)
    detail = {"tasks": list(tasks), "done_again": list(plan.done[:MOST_NAMED]), "force": force}
    for each, more in (
        (txn, {"as": again.instance_id, "exceptions": closed}),
        (again, {"of": txn.instance_id, "carried_over": len(plan.carried)}),
    ):
        log(each, event=LogEvent.RERUN, actor=actor, remark=remark, detail={**detail, **more})
    transaction.on_commit(wake_workers)
    return again


def _planned(txn: Transaction, *, tasks: Sequence[str]) -> rerun.Rerun:
    _refuse(txn)
    definition = load(txn.flow)
    lacking = [n for n, task_id in enumerate(tasks) if task_id not in definition.tasks]
    if lacking:
        raise InvalidValue([Problem(f"tasks[{n}]", _("there is no such task")) for n in lacking])
    is_undone = txn.compensation == CompensationStatus.DONE
    if is_undone and tasks:
        message = _("%(id)s was undone: it can only be run again from its beginning")
        raise IllegalMove(message % {"id": txn.instance_id})
    before = _forward(kin.chain_before(txn)) if txn.rerun_of_id is not None else []
    plan = rerun.plan(definition, forward=_forward([txn.pk]), before=before, start=tasks, is_undone=is_undone)
    if plan.untold:
        message = _("%(tasks)s did not succeed either, and depend on none of those: name them as well, or repair them")
        raise IllegalMove(message % {"tasks": _named(plan.untold)})
    undone_below = kin.undone_below(txn) if definition.has_subflows else set()
    if lost := [task_id for task_id in plan.carried if task_id in undone_below]:
        message = _("what %(tasks)s has started was undone, and cannot be carried over: name them as well")
        raise IllegalMove(message % {"tasks": _named(lost)})
    return plan


def _forward(transaction_ids: Sequence[int]) -> list[rerun.Forward]:
    undone = TaskRun.objects.filter(
        transaction_id=OuterRef("transaction_id"),
        task_id=OuterRef("task_id"),
        item=OuterRef("item"),
        op=Op.COMPENSATE,
        status=RunStatus.SUCCESS,
    )
    columns = ("task_id", "item", "status", "attempt", "maybe_executed")
    runs = TaskRun.objects.filter(transaction_id__in=transaction_ids, op=Op.ACTION)
    return [rerun.Forward(*run) for run in runs.values_list(*columns, Exists(undone))]


def _refuse(txn: Transaction) -> None:
    if txn.parent_id is not None:
        message = _("%(id)s was started by another transaction: run that one again from the task that started it")
        raise IllegalMove(message % {"id": txn.instance_id})
    refuse_run_again(txn)
    if not txn.is_final or txn.compensation not in ENDED:
        message = _("%(id)s is %(status)s, its compensation %(compensation)s: it cannot be run again now")
        words = {"status": txn.get_status_display(), "compensation": txn.get_compensation_display()}
        raise IllegalMove(message % {"id": txn.instance_id, **words})
    if (below := kin.at_it_below(txn)) is not None:
        message = _("%(below)s, which %(id)s has started, has not ended")
        raise IllegalMove(message % {"below": below, "id": txn.instance_id})


def _insert(txn: Transaction, *, new_id: str, actor: str) -> Transaction:
    """Under that name, else under the first of ours that nobody has taken."""
    names = [new_id] if new_id else list(islice(rerun.next_ids(txn.instance_id), MOST_IDS_TRIED))
    with connection.cursor() as cursor:
        for name in names:
            if (pk := starts.insert_rerun(cursor, instance_id=name, of=txn.pk, actor=actor)) is not None:
                return Transaction.objects.get(pk=pk)
    raise Conflict(_("the instance_id %(id)s is taken: give another one") % {"id": shown(names[-1])})


def _carry_over(txn: Transaction, *, to: Transaction, plan: rerun.Rerun) -> None:
    """What others look at is read in full, so it must not be more than they may look at."""
    fans = [task_id for task_id in load(txn.flow).fans if task_id in plan.carried]
    message = _("from %(id)s") % {"id": txn.instance_id}
    with connection.cursor() as cursor:
        task_id, size = starts.largest_of_items(cursor, transaction_id=txn.pk, task_ids=fans) if fans else ("", 0)
        if size > MOST_GATHERED_BYTES:
            refusal = _(
                "the outputs of all items of %(task)s have %(size)d bytes: at most %(most)d can be carried over"
            )
            raise IllegalMove(refusal % {"task": task_id, "size": size, "most": MOST_GATHERED_BYTES})
        starts.carry_over(cursor, to=to.pk, of=txn.pk, task_ids=plan.carried, fans=fans, message=message)


def _named(task_ids: Sequence[str]) -> str:
    return ", ".join(task_ids[:MOST_NAMED]) + ("…" if len(task_ids) > MOST_NAMED else "")
