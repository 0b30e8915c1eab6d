"""Alerts in the console: who may set what, what is refused, the test button and the redelivery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from dist_task.alerts.models import AlertRule, Channel, Delivery, Subscription
from dist_task.engine.store import deliveries
from tests.admin.conftest import HOSTILE

CHANNELS, ADD_CHANNEL = "admin:alerts_channel_changelist", "admin:alerts_channel_add"


def channel_form(**values: Any) -> dict[str, Any]:
    return {
        "name": "ops",
        "kind": "webhook",
        "url": "https://hooks.example/dist_task",
        "recipients": "",
        "secret": "SIGNING",
        "language": "en",
        "is_active": "on",
        **values,
    }


def rule_form(*channels: Channel, **values: Any) -> dict[str, Any]:
    return {
        "name": "many",
        "kind": "exceptions",
        "severity": "critical",
        "channels": [channel.pk for channel in channels],
        "is_active": "on",
        "flow_name": "orders",
        "outcome": "",
        "threshold": "5",
        "window_seconds": "300",
        "age_seconds": "60",
        "calm_seconds": "60",
        **values,
    }


@pytest.fixture
def channel(db: None) -> Channel:
    return Channel.objects.create(name="ops", kind="webhook", url="https://hooks.example/", secret="SIGNING")


@pytest.fixture
def delivery(channel: Channel) -> Delivery:
    made = Delivery.objects.create(
        key="k1", channel=channel, event="alert.firing", subject=HOSTILE, payload={"rule": HOSTILE}, attempts=1
    )
    made.log.create(event="failed", attempt=1, message=HOSTILE, response=HOSTILE, response_status=500)
    return made


def test_an_admin_makes_a_channel(sign_in: Callable[..., Client]) -> None:
    answer = sign_in("admin").post(reverse(ADD_CHANNEL), channel_form())

    made = Channel.objects.get()
    assert answer.status_code == 302
    assert (made.name, made.kind, made.secret, made.updated_by) == ("ops", "webhook", "SIGNING", "admin")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"secret": ""}, "secret"),
        ({"secret": "9 lives"}, "secret"),
        ({"url": ""}, "url"),
        ({"url": "ftp://hooks.example/"}, "url"),
        ({"url": "https://user:password@hooks.example/"}, "url"),
        ({"url": "https://${secrets.HOST}/"}, "url"),
        ({"kind": "slack", "secret": "", "url": "https://hooks.slack.com/services/T0/B0/plain"}, "url"),
        ({"kind": "slack", "url": "https://hooks.slack.com/services/${secrets.HOOK}"}, "secret"),
        ({"kind": "email", "url": "", "secret": ""}, "recipients"),
        ({"kind": "email", "url": "", "secret": "", "recipients": "ann"}, "recipients"),
        ({"kind": "email", "secret": "", "recipients": "ann@example.com"}, "url"),
        ({"recipients": "ann@example.com"}, "recipients"),
    ],
)
def test_a_channel_that_cannot_work_is_refused(root: Client, values: dict[str, Any], field: str) -> None:
    answer = root.post(reverse(ADD_CHANNEL), channel_form(**values))

    assert answer.status_code == 200
    assert set(answer.context["adminform"].form.errors) == {field}
    assert not Channel.objects.exists()


def test_a_host_that_is_not_allowed_is_refused(root: Client, settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "ALLOWED_HOSTS_OUT": ("hooks.example",)}

    assert root.post(reverse(ADD_CHANNEL), channel_form()).status_code == 302
    assert root.post(reverse(ADD_CHANNEL), channel_form(name="b", url="https://other.example/")).status_code == 200


@pytest.mark.parametrize(
    ("role", "channels", "rules"),
    [
        ("viewer", 403, 403),
        ("operator", 403, 403),
        ("author", 403, 403),
        ("supervisor", 403, 302),
        ("admin", 302, 302),
    ],
)
def test_who_may_set_what(
    sign_in: Callable[..., Client], channel: Channel, role: str, channels: int, rules: int
) -> None:
    client = sign_in(role)

    assert client.post(reverse(ADD_CHANNEL), channel_form(name="new")).status_code == channels
    assert client.post(reverse("admin:alerts_alertrule_add"), rule_form(channel)).status_code == rules
    subscribed = client.post(reverse("admin:alerts_subscription_add"), {"channel": channel.pk, "on_failed": "on"})
    assert subscribed.status_code == channels


def test_a_rule_keeps_what_its_kind_uses(root: Client, channel: Channel) -> None:
    for kind in ("exceptions", "nothing_runs"):
        form = rule_form(channel, name=kind, kind=kind, age_seconds="90")
        assert root.post(reverse("admin:alerts_alertrule_add"), form).status_code == 302

    found = AlertRule.objects.values_list("kind", "flow_name", "threshold", "window_seconds", "age_seconds")
    assert set(found) == {("exceptions", "orders", 5, 300, 60), ("nothing_runs", "", 1, 0, 90)}


@pytest.mark.parametrize("values", [{"threshold": "0"}, {"threshold": "1001"}, {"window_seconds": "99999999"}])
def test_a_rule_is_bounded(root: Client, values: dict[str, Any]) -> None:
    assert root.post(reverse("admin:alerts_alertrule_add"), rule_form(**values)).status_code == 200
    assert not AlertRule.objects.exists()


def test_a_subscription_leads_to_a_webhook_and_names_a_status(root: Client, channel: Channel) -> None:
    chat = Channel.objects.create(name="chat", kind="slack", url="https://hooks.slack.com/${secrets.A}")
    add = reverse("admin:alerts_subscription_add")

    assert root.post(add, {"channel": chat.pk, "on_failed": "on"}).status_code == 200
    assert root.post(add, {"channel": channel.pk}).status_code == 200
    assert root.post(add, {"channel": channel.pk, "on_failed": "on", "is_active": "on"}).status_code == 302
    assert Subscription.objects.get().channel == channel


def test_the_test_button_asks_first_and_then_sends(sign_in: Callable[..., Client], channel: Channel) -> None:
    client = sign_in("operator")
    page = client.get(reverse("admin:alerts_channel_change", args=(channel.pk,)))
    assert "Send a test…" in page.content.decode()

    wanted = {"action": "test", "_selected_action": [channel.pk]}
    asked = client.post(reverse(CHANNELS), wanted)
    assert b"says it is a test" in asked.content
    assert not Delivery.objects.exists()

    done = client.post(reverse(CHANNELS), {**wanted, "confirmed": "yes", "remark": "first light"})
    assert b"1 done, 0 refused" in done.content
    delivery = Delivery.objects.get()
    assert (delivery.event, delivery.channel) == ("test", channel)
    assert [(entry.actor, entry.message) for entry in delivery.log.all()] == [("operator", "first light")]


@pytest.mark.parametrize("role", ["viewer", "submitter", "author"])
def test_who_only_looks_sends_nothing(sign_in: Callable[..., Client], delivery: Delivery, role: str) -> None:
    client = sign_in(role)
    for page, action, pk in (
        (CHANNELS, "test", delivery.channel_id),
        ("admin:alerts_delivery_changelist", "redeliver", delivery.pk),
    ):
        client.post(reverse(page), {"action": action, "_selected_action": [pk], "confirmed": "yes"})

    assert Delivery.objects.count() == 1
    assert not delivery.log.exclude(event="failed").exists()
    page = client.get(reverse("admin:alerts_delivery_change", args=(delivery.pk,)))
    assert "Redeliver…" not in page.content.decode()


def test_a_redelivery_asks_first_and_is_refused_where_it_cannot_be(root: Client, delivery: Delivery) -> None:
    page = reverse("admin:alerts_delivery_changelist")
    wanted = {"action": "redeliver", "_selected_action": [delivery.pk], "confirmed": "yes", "remark": "again"}
    assert b"0 done, 1 refused" in root.post(page, wanted).content

    from django.db import connection

    with connection.cursor() as cursor:
        (taken,) = deliveries.take(cursor, busy=())
        deliveries.record(cursor, taken=taken, ended=deliveries.Ended(error="HTTP 500"))
    assert b"1 done, 0 refused" in root.post(page, wanted).content

    delivery.refresh_from_db()
    assert delivery.status == "pending"


def test_the_pages_escape_what_comes_from_outside(root: Client, delivery: Delivery) -> None:
    AlertRule.objects.create(name=HOSTILE, kind="exceptions")
    for address in (
        reverse("admin:alerts_delivery_changelist"),
        reverse("admin:alerts_delivery_change", args=(delivery.pk,)),
        reverse("admin:alerts_alertrule_changelist"),
        reverse("admin:alerts_alertrule_change", args=(AlertRule.objects.get().pk,)),
    ):
        text = root.get(address).content.decode()
        assert "&lt;script&gt;" in text, address
        assert "<script>alert" not in text, address


def test_a_channel_with_deliveries_is_not_deleted(root: Client, delivery: Delivery) -> None:
    free = Channel.objects.create(name="free", kind="webhook", url="https://hooks.example/", secret="SIGNING")

    for channel in (delivery.channel, free):
        root.post(reverse("admin:alerts_channel_delete", args=(channel.pk,)), {"post": "yes"})
    both = {"action": "delete_selected", "_selected_action": [delivery.channel_id], "post": "yes"}
    root.post(reverse(CHANNELS), both)

    assert list(Channel.objects.values_list("name", flat=True)) == ["ops"]


def test_switching_a_channel_on_again_forgets_why_it_was_off(root: Client, channel: Channel) -> None:
    Channel.objects.update(is_active=False, why_inactive="the receiver answered 410")
    page = reverse("admin:alerts_channel_change", args=(channel.pk,))
    assert b"the receiver answered 410" in root.get(page).content

    root.post(page, channel_form(url="https://hooks.example/"))

    channel.refresh_from_db()
    assert (channel.is_active, channel.why_inactive) == (True, "")
