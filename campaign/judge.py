"""What must be true afterwards: of the rows (the invariants), of the ends, and of what the called service saw."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from dist_task.invariants.check import verify
from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord
from transactions.models import Transaction

from .service import Call
from .workload import Kind


def judge(*, started: Mapping[str, Kind], calls: Iterable[Call], unstorable: bool = False) -> list[str]:
    """Everything that is wrong, in words; `started` are the answered starts.

    `unstorable`: errors that nobody expects were raised in commits, so a result may end as one that cannot be stored.
    """
    mine = [call for call in calls if call.instance_id in started]
    broken = [f"invariant {finding}" for finding in verify(never_pruned=True).violations]
    return [
        *broken,
        *_ends(started, unstorable=unstorable),
        *_calls(mine, started=started),
        *_order(mine, started=started),
    ]


def _ends(started: Mapping[str, Kind], *, unstorable: bool) -> list[str]:
    rows = dict(Transaction.objects.values_list("instance_id", "status"))
    wrong = [f"{instance_id}: an answered start is lost" for instance_id in started.keys() - rows.keys()]
    unknown, refused = _unknown(), _unknown(error_code="UNSTORABLE")
    for instance_id, kind in started.items():
        status = rows.get(instance_id)
        if instance_id in refused and not unstorable and kind.end == "success":
            wrong.append(f"{instance_id}: a result counts as one that cannot be stored")
            continue
        excused = status == "failed" and instance_id in (unknown if kind.may_fail else refused)
        if status is not None and status != kind.end and not excused:
            wrong.append(f"{instance_id} is {status}, not {kind.end}")
    return wrong


def _unknown(**where: str) -> set[str]:
    """Transactions with an exception that says: nobody can say whether it was done."""
    records = ExceptionRecord.objects.filter(outcome="unknown", **where)
    return set(records.values_list("transaction__instance_id", flat=True))


def _calls(calls: list[Call], *, started: Mapping[str, Kind]) -> list[str]:
    """One key per task; each attempt called once at most; manual tasks once at most; no attempt nobody knows."""
    wrong = []
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    for call in calls:
        keys[call.instance_id, call.task_id].add(call.key)
    wrong += [f"{task}: {len(found)} keys" for task, found in keys.items() if len(found) > 1]
    attempts = Counter((call.instance_id, call.task_id, call.attempt) for call in calls)
    wrong += [f"{attempt} was called {count} times" for attempt, count in attempts.items() if count > 1]
    counted = {
        (instance_id, task_id): attempt
        for instance_id, task_id, attempt in TaskRun.objects.values_list(
            "transaction__instance_id", "task_id", "attempt"
        )
    }
    for instance_id, task_id, attempt in attempts:
        if attempt > counted.get((instance_id, task_id), 0):
            wrong.append(f"{instance_id}/{task_id}: attempt {attempt} was called and is not in the rows")
        if attempt > 1 and task_id in started[instance_id].manual:
            wrong.append(f"{instance_id}/{task_id}: manual, called again by itself")
    return wrong


def _order(calls: list[Call], *, started: Mapping[str, Kind]) -> list[str]:
    """As the called service saw it, on one clock."""
    done: dict[tuple[str, str], float] = {}
    for call in calls:
        if call.status == 200:
            task = call.instance_id, call.task_id
            done[task] = min(call.ended_at, done.get(task, call.ended_at))
    wrong = []
    for call in calls:
        needs = {task["id"]: task.get("depends_on", []) for task in started[call.instance_id].tasks}[call.task_id]
        for needed in needs:
            if done.get((call.instance_id, needed), float("inf")) > call.began_at:
                wrong.append(f"{call.instance_id}: {call.task_id} was called before {needed} succeeded")
    return wrong
