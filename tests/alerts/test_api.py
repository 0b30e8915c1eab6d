"""/api/v1/alert-rules, /channels and /deliveries."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from dist_task.alerts.models import Channel, Delivery
from dist_task.engine.alerts import verbs
from tests.api.conftest import Api, as_role, closed
from tests.commands import rows

from .conftest import deliver, look, make_due, rule, webhook
from .receiver import Receiver

__all__ = ["closed"]  # a fixture
pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Api:
    return Api()


def test_a_rule_shows_whether_it_fires_and_whom_it_tells(api: Api, receiver: Receiver) -> None:
    found = rule(webhook(receiver), name="many")
    rule(name="calm", kind="oldest_due")
    rows.fail_one("a", flow=rows.make_flow())
    look()

    (entry,) = api.get("/api/v1/alert-rules?state=firing").data["list"]

    assert (entry["name"], entry["channels"], entry["value"]) == ("many", ["ops"], 1)
    assert api.get(f"/api/v1/alert-rules/{found.pk}").data == entry
    assert api.get("/api/v1/alert-rules").data["pagination"]["total"] == 2


def test_channels_show_nothing_of_where_they_lead(api: Api, receiver: Receiver) -> None:
    webhook(receiver)

    (entry,) = api.get("/api/v1/channels").data["list"]

    assert set(entry) == {"id", "name", "kind", "language", "is_active", "why_inactive"}


def test_a_test_is_delivered_and_found_in_the_log(api: Api, receiver: Receiver) -> None:
    channel = webhook(receiver)

    sent = api.post(f"/api/v1/channels/{channel.pk}/test", {"remark": "does it work?"})
    deliver()

    assert sent.status == 200
    shown = api.get(f"/api/v1/deliveries/{sent.data['id']}").data
    assert (shown["event"], shown["status"], shown["payload"]["channel"]) == ("test", "delivered", "ops")
    assert [(each["event"], each["message"]) for each in shown["log"]] == [("tested", "does it work?")]
    assert len(receiver.got) == 1


def test_a_redelivery_sends_the_same_message_again(api: Api, receiver: Receiver) -> None:
    delivery = verbs.send_test(webhook(receiver).pk, actor="ada")
    deliver()

    answer = api.post(f"/api/v1/deliveries/{delivery.pk}/redeliver", {"remark": "the receiver lost it"})
    assert (answer.status, answer.data["status"]) == (200, "pending")
    deliver()

    assert len(receiver.got) == 2
    assert receiver.got[0].headers["webhook-id"] == receiver.got[1].headers["webhook-id"]
    assert receiver.got[0].raw == receiver.got[1].raw
    log = list(delivery.log.values_list("event", "actor", "message"))
    assert ("redelivered", "anonymous", "the receiver lost it") in log


def test_what_was_given_up_gets_a_fresh_budget(api: Api, receiver: Receiver) -> None:
    delivery = verbs.send_test(webhook(receiver).pk, actor="ada")
    Delivery.objects.update(attempt_budget=1)
    receiver.answer(500)
    deliver()
    delivery.refresh_from_db()
    assert delivery.status == "given_up"

    api.post(f"/api/v1/deliveries/{delivery.pk}/redeliver")
    receiver.answer(500)
    deliver()
    delivery.refresh_from_db()
    assert delivery.status == "retrying"

    make_due()
    deliver()
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == ("delivered", 3)


def test_what_cannot_be_asked_for_is_refused(api: Api, receiver: Receiver) -> None:
    channel = webhook(receiver)
    delivery = verbs.send_test(channel.pk, actor="ada")
    path = f"/api/v1/deliveries/{delivery.pk}/redeliver"

    assert api.post(path).status == 400
    assert "due already" in api.post(path).message
    Channel.objects.update(is_active=False)
    assert "switched off" in api.post(path).message
    assert api.post(f"/api/v1/channels/{channel.pk}/test").status == 400
    assert api.post(path, {"reason": "x"}).fields == {"reason"}
    for missing in ("0", "x", "9" * 30):
        assert api.post(f"/api/v1/deliveries/{missing}/redeliver").status == 404
        assert api.post(f"/api/v1/channels/{missing}/test").status == 404
        assert api.get(f"/api/v1/deliveries/{missing}").status == 404


@pytest.mark.parametrize(
    ("query", "count"),
    [("", 2), ("status=delivered", 1), ("status=pending", 1), ("event=test", 2), ("channel=ops", 1), ("channel=x", 0)],
)
def test_deliveries_are_filtered(api: Api, receiver: Receiver, query: str, count: int) -> None:
    verbs.send_test(webhook(receiver).pk, actor="ada")
    deliver()
    verbs.send_test(webhook(receiver, name="other").pk, actor="ada")

    assert api.get(f"/api/v1/deliveries?{query}").data["pagination"]["total"] == count


@pytest.mark.parametrize("query", ["status=sent", "event=x", "nothing=1", "channel="])
def test_a_wrong_filter_is_refused(api: Api, query: str) -> None:
    assert api.get(f"/api/v1/deliveries?{query}").status == 400


def test_a_list_costs_the_same_however_long_it_is(api: Api, receiver: Receiver) -> None:
    channel = webhook(receiver)
    counts = []
    for more in (1, 9):
        for _each in range(more):
            verbs.send_test(channel.pk, actor="ada")
        with _counting() as queries:
            api.get("/api/v1/deliveries")
        counts.append(len(queries))

    assert counts[0] == counts[1]


def _counting() -> Any:
    from django.test.utils import CaptureQueriesContext

    return CaptureQueriesContext(connection)


def test_roles(closed: None, receiver: Receiver) -> None:
    channel = webhook(receiver)
    path = f"/api/v1/channels/{channel.pk}/test"

    assert as_role("viewer").post(path).status == 403
    assert as_role("author").post(path).status == 403
    assert as_role("operator").post(path).status == 200
    assert Delivery.objects.get().log.get().actor == "operator-user"
