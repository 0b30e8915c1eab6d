from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from dist_task.engine import operate
from dist_task.engine.operate import compensate_transaction
from dist_task.errors import IllegalMove
from dist_task.models import Worker
from tests.commands.rows import claim, fail_one, make_flow, make_older, start_one, status_of, succeed_one
from transactions.models import Transaction

pytestmark = pytest.mark.django_db


def test_rescue_takes_what_a_dead_worker_held(run):
    start_one("a", flow=make_flow())
    worker_id, _ = claim("a")
    Worker.objects.filter(pk=worker_id).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert Transaction.objects.get(instance_id="a").owner is not None

    ran = run("rescue")

    assert ran.out == "1 transaction rescued\n"
    assert Transaction.objects.get(instance_id="a").owner is None
    assert run("rescue").out == "0 transactions rescued\n"


def test_rescue_leaves_what_a_living_worker_holds(run):
    start_one("a", flow=make_flow())
    claim("a", lease_seconds=600)

    assert run("rescue").out == "0 transactions rescued\n"


def test_prune_removes_old_successes_only(run):
    flow = make_flow()
    succeed_one("old", flow=flow)
    succeed_one("new", flow=flow)
    fail_one("bad", flow=flow)
    for each in ("old", "bad"):
        make_older(each, by=timedelta(days=31))

    ran = run("prune", "--older-than", "30d")

    assert ran.out.startswith("1 transaction removed")
    assert set(Transaction.objects.values_list("instance_id", flat=True)) == {"new", "bad"}


def test_a_dry_run_of_prune_removes_nothing(run):
    succeed_one("old", flow=make_flow())
    make_older("old", by=timedelta(days=31))

    ran = run("prune", "--older-than", "30d", "--dry-run")

    assert ran.out.startswith("1 transaction would be removed")
    assert status_of("old") == "success"


def test_prune_leaves_what_is_being_undone(run):
    succeed_one("old", flow=make_flow())
    make_older("old", by=timedelta(days=31))
    compensate_transaction("old", actor="ada", remark="why")

    ran = run("prune", "--older-than", "30d")

    assert ran.out.startswith("0 transactions removed")
    assert status_of("old") == "success"


def start_below(parent: str, child: str, *, flow):
    """`child` as if `parent` had started it; both are old and successful."""
    for each in (parent, child):
        succeed_one(each, flow=flow)
        make_older(each, by=timedelta(days=31))
    above = Transaction.objects.get(instance_id=parent)
    Transaction.objects.filter(instance_id=child).update(parent=above, parent_task_id="pay", parent_op="action")


def test_prune_leaves_what_a_transaction_has_started_that_is_still_there(run):
    start_below("order", "order.pay", flow=make_flow())
    Transaction.objects.filter(instance_id="order").update(completed_at=timezone.now())

    ran = run("prune", "--older-than", "30d")

    assert ran.out.startswith("0 transactions removed")
    assert status_of("order.pay") == "success"


def test_prune_removes_a_transaction_with_what_it_has_started(run):
    start_below("order", "order.pay", flow=make_flow())
    start_below("order.pay.x", "order.pay.x.y", flow=make_flow())
    Transaction.objects.filter(instance_id="order.pay.x").update(
        parent=Transaction.objects.get(instance_id="order.pay"), parent_task_id="x", parent_op="action"
    )

    would = run("prune", "--older-than", "30d", "--dry-run")
    ran = run("prune", "--older-than", "30d")

    assert would.out.startswith("4 transactions would be removed")
    assert ran.out.startswith("4 transactions removed")


@pytest.mark.parametrize("at_it", [{"compensation": "running"}, {"owes_parent": True}])
def test_prune_leaves_a_transaction_until_what_it_has_started_has_ended(run, at_it):
    start_below("order", "order.pay", flow=make_flow())
    Transaction.objects.filter(instance_id="order.pay").update(**at_it)

    assert run("prune", "--older-than", "30d").out.startswith("0 transactions removed")


def test_prune_leaves_what_was_run_again_as_long_as_the_one_that_stands_on_it(run):
    flow = make_flow()
    for each in ("order", "order:r2"):
        succeed_one(each, flow=flow)
        make_older(each, by=timedelta(days=31))
    again = Transaction.objects.filter(instance_id="order:r2")
    again.update(rerun_of=Transaction.objects.get(instance_id="order"), completed_at=timezone.now())
    ran = run("prune", "--older-than", "30d")
    assert ran.out.startswith("0 transactions removed")

    make_older("order:r2", by=timedelta(days=31))
    would = run("prune", "--older-than", "30d", "--dry-run")
    ran = run("prune", "--older-than", "30d")

    assert would.out.startswith("2 transactions would be removed")
    assert ran.out.startswith("2 transactions removed")


def test_what_was_run_again_goes_on_nowhere_else_once_that_one_was_pruned(run):
    fail_one("order", flow=make_flow())
    again = operate.rerun_transaction("order", actor="ann", remark="the price was wrong", force=True)
    now = timezone.now()
    Transaction.objects.filter(pk=again.pk).update(status="success", started_at=now, completed_at=now, wake_at=None)
    make_older(again.instance_id, by=timedelta(days=31))

    ran = run("prune", "--older-than", "30d", "--status", "success")

    assert ran.out.startswith("1 transaction removed")
    for verb in (operate.retry_transaction, operate.cancel_transaction, operate.rerun_transaction):
        with pytest.raises(IllegalMove, match="run again as a transaction that does not exist any more"):
            verb("order", actor="bob", remark="again")


def test_prune_stops_at_its_limit_and_says_so(run):
    flow = make_flow()
    for each in "abc":
        succeed_one(each, flow=flow)
        make_older(each, by=timedelta(days=1))

    ran = run("prune", "--older-than", "1h", "--limit", "2")

    assert ran.out.startswith("2 transactions removed")
    assert "run again" in ran.out
    assert Transaction.objects.count() == 1


@pytest.mark.parametrize("words", [[], ["--older-than", "soon"], ["--older-than", "1d", "--status", "running"]])
def test_prune_refuses_wrong_arguments(run, words):
    assert run("prune", *words).code != 0
