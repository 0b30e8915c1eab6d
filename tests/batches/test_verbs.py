"""A batch freezes a set, does its items one by one, and keeps what became of each."""

from __future__ import annotations

import pytest
from django.db import connection
from django.utils.translation import override

from dist_task.batches.models import Batch, BatchItem
from dist_task.engine.batches import verbs
from dist_task.engine.batches.preview import preview
from dist_task.engine.batches.run import run_next
from dist_task.engine.batches.table import VERBS, Verb
from dist_task.engine.operate import cancel_transaction, handle_exception
from dist_task.engine.prune import prune_batches
from dist_task.errors import IllegalMove, InvalidRequest, NotFound
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from tests.commands import rows
from transactions.models import Transaction

from .conftest import fail_many, make, results, run_all, stored

pytestmark = pytest.mark.django_db


def test_the_set_is_frozen_when_the_batch_is_made() -> None:
    flow = rows.make_flow()
    first = rows.fail_one("a", flow=flow)
    batch = make()
    rows.fail_one("b", flow=flow)

    ended = run_all(batch)

    assert (ended.status, ended.total, ended.done) == ("done", 1, 1)
    assert results(batch) == {"a": "done"}
    first.refresh_from_db()
    assert (first.status, first.handled_by, first.remark) == ("handled", "ana", "the bank is back")


def test_the_log_of_each_transaction_names_the_batch_and_who_made_it() -> None:
    rows.fail_one("a", flow=rows.make_flow())
    batch = run_all(make("retry", parameters={"delay": 0}))

    entry = ExecutionLog.objects.get(event="retried")

    assert (entry.actor, entry.message, entry.detail["batch"]) == ("ana", "the bank is back", batch.pk)
    cancel_transaction("a", actor="bo", remark="why")
    assert "batch" not in ExecutionLog.objects.get(actor="bo").detail  # by hand, afterwards


def test_what_the_verb_refuses_has_its_reason_in_the_language_of_who_made_it() -> None:
    flow = rows.make_flow()
    record = rows.fail_one("a", flow=flow)
    rows.fail_one("b", flow=flow)
    with override("zh-hans"):
        batch = make()
    handle_exception(record.pk, actor="bo")

    ended = run_all(batch)

    assert (ended.done, ended.refused, ended.failed) == (1, 1, 0)
    item = BatchItem.objects.get(batch=batch, status="refused")
    assert (item.name, "bo" in item.message, "already" in item.message) == ("a", True, False)


def test_what_is_gone_meanwhile_is_refused() -> None:
    rows.fail_one("a", flow=rows.make_flow())
    batch = make("retry", target="transactions", rows=Transaction.objects.filter(status="failed"))
    for model in (ExceptionRecord, ExecutionLog):
        model.objects.all().delete()
    Transaction.objects.all().delete()

    assert run_all(batch).refused == 1
    assert "does not exist" in BatchItem.objects.get().message


def test_a_row_that_breaks_the_service_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = rows.make_flow()
    first = rows.fail_one("a", flow=flow)
    rows.fail_one("b", flow=flow)

    def breaking(exception_id: int, **values: object) -> None:
        handle_exception(exception_id, actor="ana")
        if exception_id == first.pk:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")

    monkeypatch.setitem(VERBS, ("exceptions", "handle"), Verb(breaking, ""))  # type: ignore[arg-type]
    batch = run_all(make())

    assert results(batch) == {"a": "failed", "b": "done"}
    first.refresh_from_db()
    assert first.status == "open"  # what it had changed was undone


def test_transactions_are_retried_cancelled_and_compensated() -> None:
    flow = rows.make_flow()
    for name, verb, after in (("a", "retry", "pending"), ("b", "cancel", "cancelled"), ("c", "compensate", "failed")):
        rows.fail_one(name, flow=flow)
        batch = make(verb, target="transactions", rows=Transaction.objects.filter(instance_id=name))
        assert run_all(batch).done == 1
        assert rows.status_of(name) == after


def test_a_paused_batch_does_nothing_until_it_is_resumed() -> None:
    flow = rows.make_flow()
    rows.fail_one("a", flow=flow)
    rows.fail_one("b", flow=flow)
    batch = make()
    run_next(batch.pk)
    verbs.pause(batch.pk, actor="bo", remark="wait")

    assert run_next(batch.pk) is None
    assert (stored(batch).status, stored(batch).done) == ("paused", 1)

    verbs.resume(batch.pk, actor="bo", remark="go on")
    assert (run_all(batch).status, stored(batch).done) == ("done", 2)
    log = list(batch.log.values_list("event", "actor", "message"))
    assert log == [("created", "ana", "the bank is back"), ("paused", "bo", "wait"), ("resumed", "bo", "go on")]


def test_a_cancelled_batch_leaves_what_had_not_begun() -> None:
    flow = rows.make_flow()
    rows.fail_one("a", flow=flow)
    second = rows.fail_one("b", flow=flow)
    batch = make()
    run_next(batch.pk)

    verbs.cancel(batch.pk, actor="bo", remark="why")

    assert run_all(batch).status == "cancelled"
    assert results(batch) == {"a": "done", "b": "pending"}
    second.refresh_from_db()
    assert second.status == "open"


MOVES = {"pause": verbs.pause, "resume": verbs.resume, "cancel": verbs.cancel}


@pytest.mark.parametrize(
    ("status", "legal"),
    [("running", {"pause", "cancel"}), ("paused", {"resume", "cancel"}), ("cancelled", set()), ("done", set())],
)
def test_illegal_moves_are_refused(status: str, legal: set[str]) -> None:
    rows.fail_one("a", flow=rows.make_flow())
    for name, move in MOVES.items():
        batch = make()
        if status == "done":
            Batch.objects.filter(pk=batch.pk).update(last_item_id=10**9)
            run_next(batch.pk)
        elif status != "running":
            MOVES["pause" if status == "paused" else "cancel"](batch.pk, actor="ana", remark="why")
        if name in legal:
            move(batch.pk, actor="bo", remark="why")
            continue
        with pytest.raises(IllegalMove):
            move(batch.pk, actor="bo", remark="why")
        assert stored(batch).status == status


def test_nobody_steers_what_is_not_there() -> None:
    with pytest.raises(NotFound):
        verbs.pause(1, actor="ana", remark="why")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"remark": " "}, "say why, as the remark"),
        ({"remark": "x" * 2001}, "at most 2000"),
        ({"rate": 0}, "rate must be"),
        ({"rate": 1001}, "rate must be"),
        ({"verb": "explode"}, "verb must be one of retry, handle"),
        ({"parameters": {"delay": 1}}, "no parameter delay"),
        ({"verb": "retry", "parameters": {"delay": -1}}, "delay must be"),
        ({"parameters": {"resolution": "shrug"}}, "resolution must be"),
    ],
)
def test_what_is_wrong_makes_no_batch(values: dict[str, object], said: str) -> None:
    rows.fail_one("a", flow=rows.make_flow())

    with pytest.raises(InvalidRequest, match=said):
        make(**values)  # type: ignore[arg-type]

    assert not Batch.objects.exists()


@pytest.mark.parametrize("nothing", [ExceptionRecord.objects.filter(pk=-1), ExceptionRecord.objects.none()])
def test_nothing_to_do_makes_no_batch(nothing: object) -> None:
    with pytest.raises(InvalidRequest, match="nothing matches"):
        make(rows=nothing)

    assert not Batch.objects.exists()


def test_too_many_make_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_many(4, flow=rows.make_flow())
    monkeypatch.setattr(verbs, "MOST_ITEMS", 3)

    with pytest.raises(InvalidRequest, match="at most 3 items"):
        make()

    assert not BatchItem.objects.exists()


def test_a_preview_counts_all_tries_some_of_each_status_and_changes_nothing() -> None:
    flow = rows.make_flow()
    fail_many(60, flow=flow)
    for name in "ab":
        rows.succeed_one(name, flow=flow)
    rows.start_one("c", flow=flow)
    before = ExecutionLog.objects.count()

    found = preview(Transaction.objects.all(), target="transactions", verb="retry", parameters={}, actor="ana")

    shown = {group.statuses: (group.count, group.tried, group.refused) for group in found.groups}
    assert shown == {("failed", "none"): (60, 6, 0), ("success", "none"): (2, 2, 2), ("pending", "none"): (1, 1, 1)}
    assert (found.count, len(found.sample), found.newest_id) == (63, 9, Transaction.objects.latest("id").pk)
    (reasons,) = (group.reasons for group in found.groups if group.statuses[0] == "pending")
    assert reasons == ("only a failed transaction can be retried; c is pending",)
    assert ExecutionLog.objects.count() == before
    assert set(Transaction.objects.filter(status="failed").values_list("revision", flat=True)) == {0}


def test_what_a_preview_says_is_what_the_batch_does() -> None:
    flow = rows.make_flow(strategy="no_retry")
    fail_many(3, flow=flow)
    handle_exception(ExceptionRecord.objects.earliest("id").pk, actor="bo")
    everything = ExceptionRecord.objects.all()

    for parameters, refused in (({}, 3), ({"force": True}, 1)):
        found = preview(everything, target="exceptions", verb="retry", parameters=parameters, actor="ana")
        assert sum(group.refused for group in found.groups) == refused
        assert run_all(make("retry", rows=everything, parameters=parameters)).refused == refused


def test_a_preview_of_too_many_says_so_and_looks_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_many(4, flow=rows.make_flow())
    monkeypatch.setattr("dist_task.engine.batches.preview.MOST_ITEMS", 3)

    found = preview(Transaction.objects.all(), target="transactions", verb="retry", parameters={}, actor="ana")

    assert (found.count, found.groups, found.sample) == (4, (), ())


def test_old_batches_that_have_ended_are_pruned_with_their_items() -> None:
    rows.fail_one("a", flow=rows.make_flow())
    old, new, running = (
        run_all(make()),
        make(rows=ExceptionRecord.objects.all()),
        make(rows=ExceptionRecord.objects.all()),
    )
    run_all(new)
    long_ago = old.created_at.replace(year=2001)
    Batch.objects.filter(pk__in=(old.pk, running.pk)).update(created_at=long_ago)
    before = long_ago.replace(year=2002)

    assert prune_batches(before=before, limit=10, dry_run=True) == 1
    assert prune_batches(before=before, limit=10) == 1

    assert set(Batch.objects.values_list("pk", flat=True)) == {new.pk, running.pk}
    assert set(BatchItem.objects.values_list("batch_id", flat=True)) == {new.pk, running.pk}
    assert not Batch.objects.get(pk=new.pk).log.exclude(event="created").exists()


@pytest.mark.parametrize(("verb", "status"), [("skip", "skipped"), ("complete", "success")])
def test_failed_tasks_are_settled_in_bulk_with_one_output(verb: str, status: str) -> None:
    flow = rows.make_flow()
    for name in "ab":
        rows.fail_one(name, flow=flow)

    batch = run_all(make(verb, parameters={"output": {"id": 7}}))

    assert (batch.done, batch.refused) == (2, 0)
    runs = TaskRun.objects.filter(transaction__instance_id__in="ab").values_list("status", "output")
    assert list(runs) == [(status, {"id": 7})] * 2


def test_transactions_are_paused_and_resumed_in_bulk() -> None:
    flow = rows.make_flow()
    for name in "ab":
        rows.start_one(name, flow=flow)
    both = Transaction.objects.filter(instance_id__in="ab")

    assert run_all(make("pause", target="transactions", rows=both)).done == 2
    assert both.filter(paused=True).count() == 2
    assert run_all(make("resume", target="transactions", rows=both)).done == 2
    assert not both.filter(paused=True).exists()
