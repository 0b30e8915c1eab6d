"""verify_invariants finds what is planted, and nothing in a healthy database that is busy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from django.core.management import call_command
from django.db import connection

from dist_task.engine.store import leases
from dist_task.engine.store.batch import Begun, Ended, Write
from dist_task.invariants.check import Report, report, verify
from dist_task.invariants.rules import RULES, Rule
from tests.engine.conftest import begin, make_flow, service, start_worker, stored  # noqa: F401  # fixtures
from tests.engine.service import Answer, Service
from tests.engine.test_transactions_run import http
from tests.engine.worker import WorkerThread
from tests.recording import claim, record

AUTO = {"strategy": "auto", "max_attempts": 2, "interval": 0}
TASKS = (
    {"id": "a", "type": "noop", "retry": AUTO, "compensate": {}},
    {"id": "b", "type": "noop", "depends_on": ["a"], "compensate": {}},
    {"id": "c", "type": "noop", "optional": True},
)
RUN = "UPDATE dist_task_taskrun r SET {} FROM transactions_transaction t WHERE t.id = r.transaction_id AND {}"
TXN = "UPDATE transactions_transaction SET {} WHERE instance_id = '{}'"
LOG = "UPDATE dist_task_executionlog SET {} WHERE task_id = '{}' AND event = '{}'"
FREE = "ALTER TABLE {} DROP CONSTRAINT {}"
COPY_LOG = """INSERT INTO dist_task_executionlog (transaction_id, task_id, op, item, attempt, event, started_at, at)
    SELECT transaction_id, {}, op, item, {}, {}, started_at, at FROM dist_task_executionlog WHERE event = 'succeeded'
    LIMIT 1"""
ITEM_OF_A = """INSERT INTO dist_task_taskrun
        (transaction_id, task_id, item, status, attempt, attempt_budget, started_at, finished_at, due_at)
    SELECT transaction_id, task_id, 5, {}, 1, 1, now(), {}, {} FROM dist_task_taskrun r
    JOIN transactions_transaction t ON t.id = r.transaction_id WHERE {}"""
BELOW = """parent_id = (SELECT id FROM transactions_transaction WHERE instance_id = '{}'), parent_task_id = '{}',
    parent_op = 'action'"""
AGAIN = "rerun_of_id = (SELECT id FROM transactions_transaction WHERE instance_id = '{}')"
REQUEST = """INSERT INTO four_eyes_approvalrequest
        (act, transaction_id, arguments, remark, asked_by, status, decided_by, decided_at, expires_at)
    SELECT 'compensate', id, '{{}}', 'why', {}, {}, {}, now(), now() FROM transactions_transaction
    WHERE instance_id = 'good'"""
STORIES = ("good", "bad", "busy", "undone")
LEASE = "UPDATE dist_task_worker SET {}"


def run_of(instance_id: str, task_id: str, *, op: str = "action") -> str:
    return f"t.instance_id = '{instance_id}' AND task_id = '{task_id}' AND op = '{op}'"


PLANTED: dict[str, list[str]] = {
    "one_transaction_per_instance_id": [
        "ALTER TABLE transactions_transaction DROP CONSTRAINT transaction_instance",
        "DELETE FROM dist_task_statdelta",
        "UPDATE transactions_transaction SET instance_id = 'same'",
    ],
    "run_of_its_flow": [RUN.format("task_id = 'elsewhere'", run_of("good", "c"))],
    "no_strays": ["UPDATE dist_task_executionlog SET transaction_id = -1 WHERE task_id = 'a'"],
    "exception_of_its_flow": ["UPDATE exceptions_app_exceptionrecord SET task_id = 'other' WHERE task_id = 'b'"],
    "order": [LOG.format("started_at = started_at - interval '1 hour'", "b", "succeeded")],
    "one_success": [COPY_LOG.format("task_id", "attempt", "'succeeded'")],
    "attempts_counted": [RUN.format("attempt = attempt + 1", run_of("good", "a"))],
    "attempts_of_a_run": [COPY_LOG.format("'nobody'", "1", "'failed'")],
    "worker_ids": ["UPDATE dist_task_worker SET id = id + 1000000"],
    "late_results": [COPY_LOG.format("task_id", "attempt + 7", "'fenced'")],
    "final_is_completed": [TXN.format("owner = 1", "good")],
    "run_final_is_finished": [RUN.format("started_at = NULL", run_of("busy", "a"))],
    "final_has_nothing_left": [RUN.format("status = 'pending', finished_at = NULL, due_at = now()", "task_id = 'c'")],
    "success_is_complete": [RUN.format("status = 'failed'", run_of("good", "b"))],
    "items_are_complete": [RUN.format("item = 3", run_of("good", "c"))],
    "items_of_the_list": [
        RUN.format("input = '{\"items\": [1, 2]}'", run_of("good", "a")),
        ITEM_OF_A.format("'success'", "now()", "NULL", run_of("good", "a")),
    ],
    "items_end_first": [ITEM_OF_A.format("'pending'", "NULL", "now()", run_of("good", "a"))],
    "child_of_a_run": [TXN.format(BELOW.format("good", "nobody"), "due")],
    "child_succeeded": [TXN.format(BELOW.format("good", "b"), "bad")],
    "child_is_undone": [
        """UPDATE flows_flow SET definition = replace(definition, '"compensate": {}', '"config": {"flow": "x"}')""",
        """UPDATE flows_flow SET definition = replace(definition, '"type": "noop"', '"type": "subflow"')""",
        TXN.format(BELOW.format("undone", "a"), "good"),
    ],
    "rerun_of_an_ended_one": [TXN.format(AGAIN.format("busy"), "due")],
    "carried_over_was_given": [
        TXN.format(AGAIN.format("bad"), "due"),
        """INSERT INTO dist_task_taskrun (transaction_id, task_id, status, output, finished_at)
           SELECT id, 'a', 'skipped', '{"hold": 8}', now() FROM transactions_transaction WHERE instance_id = 'due'""",
        """INSERT INTO dist_task_executionlog (transaction_id, task_id, op, event)
           SELECT id, 'a', 'action', 'carried_over' FROM transactions_transaction WHERE instance_id = 'due'""",
    ],
    "failed_has_a_failure": [RUN.format("status = 'skipped'", run_of("bad", "b"))],
    "constraints": [FREE.format("dist_task_taskrun", "taskrun_final_iff_finished")],
    "budget": [RUN.format("attempt_budget = 1", run_of("good", "a"))],
    "never_by_itself": [
        RUN.format("attempt = 2, attempt_budget = 2", run_of("good", "b")),
        LOG.format("attempt = 2", "b", "succeeded"),
    ],
    "failure_is_seen": ["DELETE FROM exceptions_app_exceptionrecord WHERE task_id = 'b'"],
    "unknown_is_remembered": [RUN.format("maybe_executed = false", run_of("bad", "b"))],
    "pause": ["""UPDATE flows_flow SET definition = replace(definition, '"interval": 0', '"interval": 60')"""],
    "compensation_comes_after": [RUN.format("finished_at = now() + interval '1 hour'", run_of("undone", "a"))],
    "undone_was_done": [RUN.format("status = 'failed'", run_of("undone", "a"))],
    "compensation_is_complete": ["DELETE FROM dist_task_taskrun WHERE op = 'compensate' AND task_id = 'a'"],
    "rerun_is_undone_first": [TXN.format(f"{AGAIN.format('undone')}, created_at = now() - interval '1 hour'", "due")],
    "reverse_order": [
        RUN.format("started_at = r.started_at - interval '1 hour'", run_of("undone", "a", op="compensate"))
    ],
    "failed_compensation_is_seen": [TXN.format("compensation = 'failed'", "undone")],
    "paused_stands_still": [TXN.format("paused = true", "due")],
    "no_limbo": [TXN.format("wake_at = NULL", "due")],
    "child_will_tell": [RUN.format("status = 'waiting', waits_for = 'child'", run_of("busy", "a"))],
    "owes_its_parent": [TXN.format("owes_parent = true", "due")],
    "parent_untold": [
        TXN.format(
            f"owes_parent = true, completed_at = now() - interval '1 hour', {BELOW.format('busy', 'a')}", "good"
        ),
        "UPDATE dist_task_executionlog SET at = now() - interval '1 hour'",
    ],
    "rescued_in_time": [
        LEASE.format("lease_until = now() - interval '1 hour'"),
        """INSERT INTO dist_task_worker (cluster, host, pid, lease_until, created_at)
           VALUES ('', '', 1, now() + interval '1 hour', now() - interval '1 hour')""",
    ],
    "rescue_pending": [LEASE.format("lease_until = now()")],
    "held_and_still": [
        RUN.format(
            "status = 'success', finished_at = now(), started_at = now() - interval '1 hour'", run_of("busy", "a")
        ),
        TXN.format("started_at = now() - interval '1 hour'", "busy"),
    ],
    "overdue": [TXN.format("wake_at = now() - interval '1 hour'", "due")],
    "one_open_exception": [
        "DROP INDEX exception_one_open_per_run",
        """INSERT INTO exceptions_app_exceptionrecord
               (transaction_id, run_id, flow_id, task_id, op, item, task_name, status, error_code, error_message,
                outcome, fingerprint)
           SELECT transaction_id, run_id, flow_id, task_id, op, item, task_name, status, error_code, error_message,
                  outcome, fingerprint FROM exceptions_app_exceptionrecord WHERE status = 'open'""",
    ],
    "retrying_has_a_run": ["UPDATE exceptions_app_exceptionrecord SET status = 'retrying' WHERE status = 'open'"],
    "statistics_unfinished": ["DELETE FROM dist_task_statdelta WHERE created = 1"],
    "statistics_recount": ["UPDATE dist_task_statdelta SET succeeded = 0"],
    "statistics_never_pruned": ["UPDATE dist_task_statdelta SET duration_ms = duration_ms + 1"],
    "no_negative_duration": [RUN.format("finished_at = r.started_at - interval '1 second'", "r.status = 'success'")],
    "batch_items_counted": [
        """INSERT INTO batches_batch (target, verb, parameters, selection, remark, language, rate, total, created_by)
           VALUES ('exceptions', 'retry', '{}', '{}', 'why', 'en', 1, 1, 'ana')"""
    ],
    "two_people": [REQUEST.format("'command:ana'", "'approved'", "'ana'")],
    "nothing_unapproved": [
        REQUEST.format("'ana'", "'rejected'", "'bo'"),
        """INSERT INTO dist_task_executionlog (transaction_id, event, detail)
           SELECT transaction_id, 'retried', jsonb_build_object('request', id) FROM four_eyes_approvalrequest""",
    ],
    "approved_is_done": [REQUEST.format("'ana'", "'approved'", "'bo'")],
    "batch_items_once": [
        """INSERT INTO dist_task_executionlog (transaction_id, event, detail)
           SELECT id, 'cancelled', '{"batch": 1}' FROM transactions_transaction, generate_series(1, 2)"""
    ],
}


@pytest.fixture
def history(db: None) -> Iterator[Any]:
    """Five transactions, written by the engine's own verbs: good, bad, busy, undone and due."""
    flow = make_flow(*TASKS)
    with connection.cursor() as cursor:
        worker_id = leases.register(cursor, cluster="", host="", pid=1, lease_seconds=600)
        for instance_id in STORIES:
            begin(flow, instance_id=instance_id)
        claim(worker_id=worker_id, limit=len(STORIES))
        begin(flow, instance_id="due")
        for instance_id, what in _story():
            txn = stored(instance_id)
            record(Write(txn.pk, revision=txn.revision, **what), worker_id=worker_id)
        yield cursor


def _story() -> Iterator[tuple[str, dict[str, Any]]]:
    first = [Begun("a", attempt=1, budget=3, input={}), Begun("c", attempt=1, budget=1, input={})]
    b = [Begun("b", attempt=1, budget=1, input={})]
    for instance_id in STORIES:
        yield instance_id, {"begun": first if instance_id != "busy" else first[:1]}
    retry = [_failed("a", status="pending", delay_seconds=0.0), _failed("c", status="failed")]
    yield "good", {"ended": retry}
    yield "good", {"begun": [Begun("a", attempt=2, budget=3, input={})]}
    yield "good", {"ended": [_succeeded("a", attempt=2)], "begun": b}
    yield "good", {"ended": [_succeeded("b")], "release": True, "finish": "success"}
    yield "bad", {"ended": [_succeeded("a"), _succeeded("c")], "begun": b}
    lost = _failed("b", status="failed", event="worker_lost", maybe_executed=True)
    yield "bad", {"ended": [lost], "release": True, "finish": "failed"}
    yield "undone", {"ended": [_succeeded("a"), _succeeded("c")], "begun": b}
    yield "undone", {"ended": [lost], "compensate": True}
    back = {"op": "compensate", "attempt": 1}
    yield "undone", {"begun": [Begun("b", budget=11, input={}, **back)]}
    yield "undone", {"ended": [_succeeded("b", **back)], "begun": [Begun("a", budget=11, input={}, **back)]}
    end = {"finish": "failed", "compensated": "done", "release": True}
    yield "undone", {"ended": [_succeeded("a", **back)], **end}


def _succeeded(task_id: str, *, attempt: int = 1, op: str = "action") -> Ended:
    return Ended(task_id, attempt=attempt, op=op, status="success", event="succeeded")


def _failed(task_id: str, *, event: str = "failed", **more: Any) -> Ended:
    return Ended(task_id, attempt=1, event=event, error_code="X", outcome="retryable", task_name=task_id, **more)


def names(found: Report) -> set[str]:
    return {finding.rule.name for finding in (*found.violations, *found.warnings)}


def test_a_healthy_history_breaks_nothing(history: Any) -> None:
    assert report(history, never_pruned=True) == Report(violations=[], warnings=[], unreadable_flows=[])


def test_there_is_a_planted_violation_for_every_rule() -> None:
    assert set(PLANTED) == {rule.name for rule in RULES}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found(history: Any, name: str) -> None:
    history.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for statement in PLANTED[name]:
        history.execute(statement)
        assert history.rowcount, statement

    found = report(history, never_pruned=True)

    assert name in names(found), [str(finding) for finding in found.violations]


def test_pruned_rows_are_no_violation_unless_nothing_was_ever_pruned(history: Any) -> None:
    history.execute(
        "DELETE FROM dist_task_executionlog l USING transactions_transaction t"
        " WHERE t.id = l.transaction_id AND t.instance_id = 'good'"
    )
    history.execute(
        "DELETE FROM exceptions_app_exceptionrecord x USING transactions_transaction t"
        " WHERE t.id = x.transaction_id AND t.instance_id = 'good'"
    )
    history.execute(
        "DELETE FROM dist_task_taskrun r USING transactions_transaction t"
        " WHERE t.id = r.transaction_id AND t.instance_id = 'good'"
    )
    history.execute("DELETE FROM transactions_transaction WHERE instance_id = 'good'")

    assert names(report(history)) == set()
    assert names(report(history, never_pruned=True)) == {"statistics_never_pruned"}


def test_a_definition_that_cannot_be_read_is_named(history: Any) -> None:
    history.execute("UPDATE flows_flow SET definition = 'not json' RETURNING id")
    flow_id = history.fetchone()[0]

    assert report(history).unreadable_flows == [flow_id]


@pytest.mark.django_db(transaction=True)
def test_a_busy_database_breaks_nothing(
    start_worker: Callable[[], WorkerThread],  # noqa: F811  # the fixture
    service: Service,  # noqa: F811  # the fixture
    capsys: pytest.CaptureFixture[str],
) -> None:
    start_worker()
    start_worker()
    service.answer("/a", *[Answer(503), Answer(200), Answer(drop=True)] * 10)
    flow = make_flow(http("a", service, retry=AUTO), http("b", service, "a"), http("c", service, "a"))
    ids = [begin(flow) for _ in range(30)]

    while not all(stored(instance_id).is_final for instance_id in ids):
        assert verify(never_pruned=True).violations == []

    call_command("verify_invariants", "--never-pruned")
    assert "0 broken" in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
def test_the_command_prints_what_is_broken_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    begin(make_flow(*TASKS), instance_id="lost")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE transactions_transaction SET wake_at = NULL")

    with pytest.raises(SystemExit) as ended:
        call_command("verify_invariants")
    assert ended.value.code == 1
    assert "BROKEN 18 A transaction with something left to do" in (out := capsys.readouterr().out) and "lost" in out

    with pytest.raises(SystemExit):
        call_command("verify_invariants", "--json")
    found = json.loads(capsys.readouterr().out)["violations"]
    assert [(each["number"], each["name"], each["examples"]) for each in found] == [(18, "no_limbo", ["lost"])]


@pytest.mark.django_db(transaction=True)
def test_it_cannot_write(monkeypatch: pytest.MonkeyPatch) -> None:
    writing = Rule(0, name="w", sentence="", sql="SELECT nextval('dist_task_worker_id_seq')::text AS example")
    monkeypatch.setattr("dist_task.invariants.check.RULES", (writing,))

    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        verify()
