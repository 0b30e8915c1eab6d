"""What must be true afterwards: of the rows (the invariants), of the ends, and of what the called service saw."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set

from dist_task.invariants.check import verify
from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord
from transactions.models import Transaction

from .service import ACCEPTED, Call
from .workload import Kind, flow_name

Run = tuple[str, str, str, int]


def judge(*, started: Mapping[str, Kind], calls: Iterable[Call], unstorable: bool = False) -> list[str]:
    """Everything that is wrong, in words; `started` are the answered starts.

    `unstorable`: errors that nobody expects were raised in commits, so a result may end as one that cannot be stored.
    """
    known = {**started, **_children(started)}
    mine = [call for call in calls if call.instance_id in known]
    broken = [f"invariant {finding}" for finding in verify(never_pruned=True).violations]
    return [
        *broken,
        *_ends(started, unstorable=unstorable),
        *_ends_below(),
        *_calls(mine, started=known),
        *_order(mine, started=known),
    ]


def _children(started: Mapping[str, Kind]) -> dict[str, Kind]:
    """The transactions that transactions have started, as far as their flows are among the mixed ones."""
    kinds = {flow_name(kind): kind for kind in started.values()}
    rows = Transaction.objects.filter(parent__isnull=False).values_list("instance_id", "flow__name")
    return {instance_id: kinds[name] for instance_id, name in rows if name in kinds}


def _ends_below() -> list[str]:
    """A child ends as its parent's task did, is undone with it, and the parent has been told."""
    wrong = []
    children = Transaction.objects.filter(parent__isnull=False)
    for child in children.filter(parent__status="success").exclude(status="success"):
        wrong.append(f"{child.instance_id} is {child.status} below a success")
    for child in children.filter(parent__compensation="done").exclude(compensation="done"):
        wrong.append(f"compensation of {child.instance_id} is {child.compensation} below one that is done")
    wrong += [f"{child.instance_id} has not told its parent" for child in children.filter(owes_parent=True)]
    return wrong


def _ends(started: Mapping[str, Kind], *, unstorable: bool) -> list[str]:
    ends = Transaction.objects.values_list("instance_id", "status", "compensation")
    rows = {instance_id: (status, compensation) for instance_id, status, compensation in ends}
    wrong = [f"{instance_id}: an answered start is lost" for instance_id in started.keys() - rows.keys()]
    unknown, refused = _unknown(), _unknown(error_code="UNSTORABLE")
    for instance_id, kind in started.items():
        status, compensation = rows.get(instance_id, (None, None))
        if instance_id in refused and not unstorable and kind.end == "success":
            wrong.append(f"{instance_id}: a result counts as one that cannot be stored")
            continue
        excused = status == "failed" and instance_id in (unknown if kind.may_fail else refused)
        if status is not None and status != kind.end and not excused:
            wrong.append(f"{instance_id} is {status}, not {kind.end}")
        elif status == kind.end and compensation != kind.compensation:
            wrong.append(f"compensation of {instance_id} is {compensation}, not {kind.compensation}")
    return wrong


def _unknown(**where: str) -> set[str]:
    """Transactions with an exception that says: nobody can say whether it was done."""
    records = ExceptionRecord.objects.filter(outcome="unknown", **where)
    return set(records.values_list("transaction__instance_id", flat=True))


def _calls(calls: list[Call], *, started: Mapping[str, Kind]) -> list[str]:
    """One key per run; each attempt called once at most; manual tasks once at most; no attempt nobody knows."""
    wrong = []
    keys: dict[Run, set[str]] = defaultdict(set)
    for call in calls:
        keys[run_of(call)].add(call.key)
    wrong += [f"{run}: {len(found)} keys" for run, found in keys.items() if len(found) > 1]
    attempts = Counter((run_of(call), call.attempt) for call in calls)
    wrong += [f"{attempt} was called {count} times" for attempt, count in attempts.items() if count > 1]
    runs = TaskRun.objects.values_list("transaction__instance_id", "task_id", "op", "item", "attempt")
    counted = {tuple(run): attempt for *run, attempt in runs}
    for run, attempt in attempts:
        instance_id, task_id, _op, _item = run
        if attempt > counted.get(run, 0):
            wrong.append(f"{instance_id}/{task_id}: attempt {attempt} was called and is not in the rows")
        if attempt > 1 and task_id in started[instance_id].manual:
            wrong.append(f"{instance_id}/{task_id}: manual, called again by itself")
    return wrong


def run_of(call: Call) -> Run:
    return call.instance_id, call.task_id, call.op, call.item


def _order(calls: list[Call], *, started: Mapping[str, Kind]) -> list[str]:
    """As the called service saw it, on one clock: dependencies first; backwards what depends on it first."""
    ended: dict[Run, float] = {}
    for call in calls:
        if call.status in (200, ACCEPTED):
            ended[run_of(call)] = min(call.ended_at, ended.get(run_of(call), call.ended_at))
    done: dict[tuple[str, str, str], float] = {}
    for (instance_id, task_id, op, _item), at in ended.items():  # a task has succeeded when all its items have
        done[instance_id, task_id, op] = max(at, done.get((instance_id, task_id, op), at))
    wrong = []
    undone = {(call.instance_id, call.task_id) for call in calls if call.op == "compensate"}
    for call in calls:
        for first in _first(call, kind=started[call.instance_id], undone=undone):
            if done.get((call.instance_id, first, call.op), float("inf")) > call.began_at:
                wrong.append(
                    f"{call.instance_id}: {call.op} of {call.task_id} was called before that of {first} succeeded"
                )
    return wrong


def _first(call: Call, *, kind: Kind, undone: Set[tuple[str, str]]) -> list[str]:
    """The tasks whose calls have to succeed before this one; a subflow is called by nobody."""
    needs = {task["id"]: task.get("depends_on", []) for task in kind.tasks}
    if call.op == "action":
        called = {task["id"] for task in kind.tasks if task["type"] == "http"}
        return [needed for needed in needs[call.task_id] if needed in called]
    return [
        later for later in needs if (call.instance_id, later) in undone and call.task_id in _all_needs(needs, later)
    ]


def _all_needs(needs: Mapping[str, list[str]], task_id: str) -> set[str]:
    return set(needs[task_id]).union(*(_all_needs(needs, needed) for needed in needs[task_id]))
