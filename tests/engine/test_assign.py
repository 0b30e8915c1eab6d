"""Who looks after an exception, and what people have to say about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from dist_task.engine import operate
from dist_task.errors import IllegalMove, InvalidRequest, NotFound
from dist_task.models import ExecutionLog
from dist_task.roles import make_groups
from exceptions_app.models import ExceptionRecord
from tests.commands.rows import fail_one, make_flow

pytestmark = pytest.mark.django_db


@pytest.fixture
def record() -> ExceptionRecord:
    make_groups()
    for name in ("ann", "bob"):
        User.objects.create_user(name).groups.add(Group.objects.get(name="operator"))
    return fail_one("order_1", flow=make_flow())


def assign(record: ExceptionRecord, assignee: str, *, actor: str, **more: Any) -> str:
    return operate.assign_exception(record.pk, assignee=assignee, actor=actor, **{"remark": "why", **more}).assignee


def test_an_exception_is_taken_handed_over_and_released(record: ExceptionRecord) -> None:
    assert assign(record, "ann", actor="ann", remark="mine") == "ann"
    assert assign(record, "bob", actor="ann") == "bob"
    assert assign(record, "", actor="bob") == ""

    log = ExecutionLog.objects.filter(event="assigned").order_by("id")
    assert [(each.actor, each.detail["before"], each.detail["after"]) for each in log] == [
        ("ann", {"assignee": ""}, {"assignee": "ann"}),
        ("ann", {"assignee": "ann"}, {"assignee": "bob"}),
        ("bob", {"assignee": "bob"}, {"assignee": ""}),
    ]
    assert (log[0].message, log[0].task_id) == ("mine", "pay")


def test_of_two_who_take_it_one_has_it_and_the_other_is_told(record: ExceptionRecord) -> None:
    assign(record, "ann", actor="ann")

    with pytest.raises(IllegalMove, match="assigned to ann; force"):
        assign(record, "bob", actor="bob")
    assert assign(record, "bob", actor="bob", force=True) == "bob"


def test_who_looks_after_it_already_is_not_written_again(record: ExceptionRecord) -> None:
    assign(record, "ann", actor="ann")
    assign(record, "ann", actor="bob")

    assert ExecutionLog.objects.filter(event="assigned").count() == 1


@pytest.mark.parametrize("name", ["nobody", "viewer", "gone", "x" * 151, "a\0b", "<b>"])
def test_only_who_may_handle_it_gets_it(record: ExceptionRecord, name: str) -> None:
    User.objects.create_user("viewer").groups.add(Group.objects.get(name="viewer"))
    User.objects.create_user("gone", is_active=False).groups.add(Group.objects.get(name="operator"))

    with pytest.raises(InvalidRequest, match="no active user"):
        assign(record, name, actor="ann")
    assert ExceptionRecord.objects.get().assignee == ""


def test_what_was_handled_is_nobodys_any_more(record: ExceptionRecord) -> None:
    operate.handle_exception(record.pk, actor="bob")

    with pytest.raises(IllegalMove, match="handled by bob"):
        assign(record, "ann", actor="ann")


def test_comments_stay_also_after_it_was_handled(record: ExceptionRecord) -> None:
    operate.comment_exception(record.pk, actor="ann", remark="called the bank")
    operate.handle_exception(record.pk, actor="bob")
    operate.comment_exception(record.pk, actor="bob", remark="they found it")

    log = ExecutionLog.objects.filter(event="commented").order_by("id")
    assert [(each.actor, each.message, each.detail) for each in log] == [
        ("ann", "called the bank", {"exception": record.pk}),
        ("bob", "they found it", {"exception": record.pk}),
    ]


@pytest.mark.parametrize("remark", ["", " ", "x" * 2001])
def test_a_comment_says_something_and_not_too_much(record: ExceptionRecord, remark: str) -> None:
    with pytest.raises(InvalidRequest, match="remark"):
        operate.comment_exception(record.pk, actor="ann", remark=remark)
    assert not ExecutionLog.objects.filter(event="commented").exists()


@pytest.mark.parametrize(
    "verb",
    [
        lambda: operate.comment_exception(4711, actor="ann", remark="why"),
        lambda: operate.assign_exception(4711, actor="ann", assignee="", remark="why"),
    ],
)
def test_nothing_is_said_of_what_is_not_there(verb: Callable[[], object]) -> None:
    with pytest.raises(NotFound):
        verb()
