"""The four-eyes rule in the console: who asks, who is told, who decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from dist_task.batches.models import Batch
from dist_task.four_eyes.models import ApprovalRequest
from flows.models import Flow
from tests.admin.conftest import HOSTILE
from tests.batches.conftest import fail_many, make, run_all
from tests.commands import rows
from tests.four_eyes.conftest import WHY, ask, asked, let_time_pass, rule, stored, undoable, undoing
from transactions.models import Transaction

__all__ = ["rule"]  # a fixture
Rule = Callable[..., None]
REQUESTS = "admin:four_eyes_approvalrequest_changelist"
TRANSACTIONS = "admin:transactions_transaction_changelist"


@pytest.fixture
def flow(db: None) -> Flow:
    return undoable()


@pytest.fixture
def as_supervisor(db: None) -> Callable[[str], Client]:
    def client_of(name: str) -> Client:
        user = User.objects.create_user(name, password=None, is_staff=True)
        user.groups.add(Group.objects.get(name="supervisor"))
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return client_of


def page_of(request: ApprovalRequest) -> str:
    return reverse("admin:four_eyes_approvalrequest_change", args=(request.pk,))


def page_of_txn(instance_id: str = "i1") -> str:
    found = Transaction.objects.get(instance_id=instance_id)
    return reverse("admin:transactions_transaction_change", args=(found.pk,))


def act(client: Client, row: Any, *, action: str, page: str = REQUESTS, **values: str) -> Any:
    confirmed = {"confirmed": "yes", **values} if values else {}
    return client.post(reverse(page), {"action": action, "_selected_action": row.pk, **confirmed})


def test_compensation_is_asked_for_approved_and_done(
    rule: Rule, flow: Flow, as_supervisor: Callable[[str], Client]
) -> None:
    ana, bo = as_supervisor("ana"), as_supervisor("bo")
    txn = rows.succeed_one("i1", flow=flow)

    before = act(ana, txn, action="compensate", page=TRANSACTIONS)
    assert "You only ask for it" in before.content.decode()
    assert "undone in this order: pay" in before.content.decode()
    done = act(ana, txn, action="compensate", page=TRANSACTIONS, remark=WHY)
    request = ApprovalRequest.objects.get()
    assert f"asked for (request {request})" in done.content.decode()
    assert undoing() == "none"

    for client in (ana, bo):
        shown = client.get(page_of_txn()).content.decode()
        assert "Compensation was asked for by ana; another person has to approve it" in shown
        assert f'href="{page_of(request)}"' in shown
        assert 'value="compensate"' not in shown

    seen = bo.get(page_of(request)).content.decode()
    assert WHY in seen
    assert "is undone" in seen
    assert ('value="approve"' in seen, 'value="withdraw"' in seen) == (True, False)
    asked_again = act(bo, request, action="approve").content.decode()
    assert "undone in this order: pay" in asked_again
    result = act(bo, request, action="approve", remark="I have seen the parcel")
    assert "it is approved now" in result.content.decode()

    assert (stored(request).decided_by, undoing()) == ("bo", "running")
    after = bo.get(page_of_txn()).content.decode()
    assert "approved by a second person" in after
    assert "another person has to approve" not in after


def test_who_asked_may_only_withdraw(rule: Rule, flow: Flow, as_supervisor: Callable[[str], Client]) -> None:
    ana, request = as_supervisor("ana"), asked(flow)

    seen = ana.get(page_of(request)).content.decode()
    assert "You asked for it" in seen
    assert ('value="approve"' in seen, 'value="withdraw"' in seen) == (False, True)
    refused = act(ana, request, action="approve", remark="me too").content.decode()
    assert "another person has to decide it" in refused
    assert stored(request).status == "awaiting"

    act(ana, request, action="withdraw", remark="a mistake")
    assert stored(request).status == "withdrawn"


def test_a_rejection_needs_a_remark_and_shows_it(
    rule: Rule, flow: Flow, as_supervisor: Callable[[str], Client]
) -> None:
    bo, request = as_supervisor("bo"), asked(flow, remark=HOSTILE)

    again = act(bo, request, action="reject", remark=" ")
    assert again.context["form"].errors
    act(bo, request, action="reject", remark=HOSTILE)

    assert (stored(request).status, undoing()) == ("rejected", "none")
    text = bo.get(page_of(request)).content.decode()
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text


def test_asking_needs_a_remark(rule: Rule, flow: Flow, as_supervisor: Callable[[str], Client]) -> None:
    txn = rows.succeed_one("i1", flow=flow)

    answer = act(as_supervisor("ana"), txn, action="compensate", page=TRANSACTIONS, remark="")

    assert answer.context["form"].errors
    assert not ApprovalRequest.objects.exists()


def test_a_batch_is_asked_for_previewed_and_approved(
    rule: Rule, flow: Flow, as_supervisor: Callable[[str], Client]
) -> None:
    fail_many(3, flow=flow)
    ana, bo = as_supervisor("ana"), as_supervisor("bo")
    address = reverse("admin:batch_new", args=("exceptions", "handle"))
    assert "The batch then awaits a second person" in ana.get(address).content.decode()

    ana.post(address, {"remark": "sent by hand", "rate": "50", "resolution": "acknowledged"})
    batch, request = Batch.objects.get(), ApprovalRequest.objects.get()
    rows.fail_one("later", flow=rows.make_flow())

    page = bo.get(reverse("admin:batches_batch_change", args=(batch.pk,))).content.decode()
    assert "ana has asked for it" in page
    assert 'value="resume"' not in page
    seen = bo.get(page_of(request))
    assert seen.context["found"].count == 3
    assert "not tried yet" in seen.content.decode()
    assert "all would be done" in bo.get(page_of(request) + "?try=yes").content.decode()
    act(bo, request, action="approve", remark="all three are theirs")

    assert run_all(batch).done == 3
    page = bo.get(reverse("admin:batches_batch_change", args=(batch.pk,))).content.decode()
    assert "Asked for by ana, approved by bo." in page


def test_what_was_repaired_meanwhile_is_said_before_and_refused(
    rule: Rule, flow: Flow, as_supervisor: Callable[[str], Client]
) -> None:
    rows.fail_one("i1", flow=flow)
    request, bo = ask(), as_supervisor("bo")
    act(bo, Transaction.objects.get(), action="retry", page=TRANSACTIONS, remark="they are back")

    assert "It cannot be carried out as things stand: i1 is pending" in bo.get(page_of(request)).content.decode()
    refused = act(bo, request, action="approve", remark="yes").content.decode()

    assert "cannot be compensated now" in refused
    assert (stored(request).status, undoing()) == ("awaiting", "none")


def test_the_shell_counts_what_awaits_the_person_who_looks(
    rule: Rule, flow: Flow, as_supervisor: Callable[[str], Client], sign_in: Callable[..., Client]
) -> None:
    ana, bo = as_supervisor("ana"), as_supervisor("bo")
    asked(flow)
    asked(flow, "i2", actor="command:ana")
    let_time_pass(asked(flow, "i3"))
    fail_many(1, flow=flow)
    make(actor="bo")

    counts = {name: client.get(reverse("admin:index")).context["awaits_you"] for name, client in
              (("ana", ana), ("bo", bo), ("viewer", sign_in("viewer")))}  # fmt: skip

    assert counts == {"ana": "1", "bo": "2", "viewer": ""}
    overview = bo.get(reverse("admin:index")).content.decode()
    assert "Await your approval" in overview
    address = reverse(REQUESTS) + "?status=yours"
    assert f'href="{address}"' in overview
    assert bo.get(address).context["cl"].result_count == 2
    assert bo.get(reverse(REQUESTS)).context["cl"].result_count == 4
    assert bo.get(reverse(REQUESTS) + "?status=approved").context["cl"].result_count == 0


def test_without_the_rule_nothing_of_it_is_shown(flow: Flow, root: Client) -> None:
    txn = rows.succeed_one("i1", flow=flow)

    assert "approvalrequest" not in root.get(reverse("admin:index")).content.decode()
    assert "You only ask for it" not in act(root, txn, action="compensate", page=TRANSACTIONS).content.decode()
    assert root.get(reverse(REQUESTS)).status_code == 200
    act(root, txn, action="compensate", page=TRANSACTIONS, remark=WHY)
    assert undoing() == "running"


@pytest.mark.parametrize("role", ["viewer", "operator", "author"])
def test_others_look_and_do_not_decide(role: str, rule: Rule, flow: Flow, sign_in: Callable[..., Client]) -> None:
    request, client = asked(flow), sign_in(role)

    seen = client.get(page_of(request)).content.decode()

    assert "It awaits a second person who may do this" in seen
    assert 'value="approve"' not in seen
    for action in ("approve", "reject", "withdraw"):
        assert act(client, request, action=action, remark="yes").status_code == 403
    assert stored(request).status == "awaiting"


def test_who_may_compensate_does_not_approve_batches(rule: Rule, flow: Flow, sign_in: Callable[..., Client]) -> None:
    fail_many(1, flow=flow)
    make("handle", actor="ana")
    request, client = ApprovalRequest.objects.get(), sign_in("viewer")
    User.objects.get(username="viewer").user_permissions.add(Permission.objects.get(codename="compensate_transaction"))

    refused = act(client, request, action="approve", remark="yes")

    assert "You may not take this action." in refused.content.decode()
    assert stored(request).status == "awaiting"


def test_pages_of_requests_are_light(rule: Rule, flow: Flow, as_supervisor: Callable[[str], Client]) -> None:
    client = as_supervisor("bo")
    for number in range(55):
        asked(flow, f"{'x' * 50}{number}", remark=HOSTILE * 20)
    newest = ApprovalRequest.objects.latest("id")

    for address in (reverse(REQUESTS), reverse(REQUESTS) + "?status=yours", page_of(newest)):
        client.get(address)
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(address)
        assert answer.status_code == 200
        assert len(queries) <= 12, "\n".join(query["sql"][:150] for query in queries)
        assert len(answer.content) <= 100_000
