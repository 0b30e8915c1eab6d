"""Flows with their versions and what fails in them, workers, the audit, an exception's past."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from dist_task.engine.operate import cancel_transaction, handle_exception, retry_exception
from dist_task.models import ExecutionLog
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from flows.register import register
from stats.heat import heat
from tests.commands import rows

AUDIT = "/admin/audit/"


def versions() -> tuple[Flow, Flow]:
    found = [
        register(
            name="orders", flow_type="t", definition={"tasks": [{"id": "pay", "type": "noop", "timeout": seconds}]},
            create_user="ana",
        )
        for seconds in (5, 9)
    ]  # fmt: skip
    return found[0], found[1]


def test_a_flow_shows_its_versions_and_what_each_changed(root: Client) -> None:
    old, new = versions()

    page = root.get(reverse("admin:flows_flow_change", args=(new.pk,)))
    ((first, link), (second, none)) = page.context["versions"]
    changes = root.get(link).context["lines"]

    assert (first.pk, second.pk, none) == (new.pk, old.pk, "")
    assert [(line.kind, line.text.strip()) for line in changes if line.kind in ("added", "removed")] == [
        ("removed", '"timeout": 5,'),
        ("added", '"timeout": 9,'),
    ]
    assert root.get(reverse("admin:flow_difference", args=(new.pk,))).context["other"] == old
    assert b"The two definitions say the same." in root.get(reverse("admin:flow_difference", args=(old.pk,))).content


@pytest.mark.parametrize(
    "address", ["/admin/flows/flow/none/difference/", "/admin/flows/flow/{pk}/difference/?from=none"]
)
def test_a_version_that_is_not_there_is_not_found(address: str, root: Client, flow: Flow) -> None:
    assert root.get(address.format(pk=flow.pk)).status_code == 404


def test_other_flows_are_not_compared(root: Client, flow: Flow) -> None:
    other = rows.make_flow(name="other")

    address = reverse("admin:flow_difference", args=(flow.pk,)) + f"?from={other.pk}"

    assert root.get(address).status_code == 404


def test_what_fails_in_a_flow_is_warm(root: Client, flow: Flow) -> None:
    rows.fail_one("bad", flow=flow)
    rows.succeed_one("good", flow=flow)

    found = heat(flow.pk)["pay"]
    page = root.get(reverse("admin:flows_flow_change", args=(flow.pk,)))

    assert (found.runs, found.failed, found.degree, found.failed_percent) == (2, 1, 4, 50.0)
    assert "50 in 100 fail" in page.context["graph"].nodes[0].title
    assert b"heat-4" in page.content


def test_the_audit_has_people_and_no_machines(root: Client, record: ExceptionRecord, flow: Flow) -> None:
    retry_exception(record.pk, actor="ana", remark="again", delay_seconds=60)
    cancel_transaction(record.transaction.instance_id, actor="bo", remark="no more")
    rows.succeed_one("good", flow=flow)

    found = root.get(AUDIT).context["rows"]

    assert [(entry.actor, entry.event, entry.message) for entry in found] == [
        ("bo", "cancelled", "no more"),
        ("ana", "retried", "again"),
    ]


@pytest.mark.parametrize(
    ("query", "actors"),
    [
        ("actor=ana", ["ana"]),
        ("verb=cancelled", ["bo"]),
        ("day=2020-01-01", []),
        ("verb=nonsense", []),
        ("day=nonsense", []),
        ("actor=nobody", []),
        ("after=1", []),
        ("after=x", ["bo", "ana"]),
    ],
)
def test_the_audit_is_filtered(query: str, actors: list[str], root: Client, record: ExceptionRecord) -> None:
    retry_exception(record.pk, actor="ana", delay_seconds=60)
    cancel_transaction(record.transaction.instance_id, actor="bo", remark="why")

    assert [entry.actor for entry in root.get(f"{AUDIT}?{query}").context["rows"]] == actors


def test_the_audit_reads_its_own_index(record: ExceptionRecord) -> None:
    from dist_task.console.audit import AuditForm, _rows

    form = AuditForm({})
    assert form.is_valid()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        plan = _rows(form, after=None)[:50].explain()

    assert "executionlog_by_people" in plan


def test_who_may_not_see_the_log_sees_no_audit(sign_in: Callable[..., Client]) -> None:
    assert sign_in().get(AUDIT).status_code == 403
    assert b"Audit" in sign_in("viewer").get(reverse("admin:index")).content


def test_workers_say_what_they_hold_and_what_is_due(root: Client, flow: Flow) -> None:
    rows.start_one("held", flow=flow)
    rows.claim("held")
    rows.start_one("due", flow=flow)

    page = root.get(reverse("admin:dist_task_worker_changelist"))

    assert [(cluster.name, cluster.live) for cluster in page.context["clusters"]] == [("t", 1)]
    assert (page.context["due"], page.context["held"]) == ("1", "1")
    assert [worker.held_count for worker in page.context["cl"].result_list] == [1]


def test_an_exception_tells_how_its_like_were_solved(root: Client, flow: Flow) -> None:
    for number in range(7):
        record = rows.fail_one(f"old_{number}", flow=flow)
        handle_exception(record.pk, actor="ana", remark=f"remedy {number}")
    record = rows.fail_one("new", flow=flow)

    page = root.get(reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,)))

    assert [other.remark for other in page.context["similar"]] == [f"remedy {n}" for n in (6, 5, 4, 3, 2)]
    assert b'?task=pay#task"' in page.content


def test_the_log_is_filtered_by_transaction_and_task(root: Client, record: ExceptionRecord, flow: Flow) -> None:
    rows.succeed_one("good", flow=flow)
    address = reverse("admin:dist_task_executionlog_changelist")

    found = root.get(address, {"transaction": record.transaction_id, "task": "pay"}).context["cl"].result_list

    assert {entry.transaction_id for entry in found} == {record.transaction_id}
    assert root.get(address, {"event": "succeeded"}).context["cl"].result_list[0].transaction.instance_id == "good"
    assert ExecutionLog.objects.count() > len(found)
