"""The first page says which alert rules fire now, and since when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dist_task.alerts.models import AlertRule
from dist_task.console.firing import MOST_SHOWN
from tests.admin.conftest import HOSTILE
from tests.commands import rows

OVERVIEW = reverse("admin:index")


def rule(name: str, *, minutes: int = 5, **about: Any) -> AlertRule:
    """One that has fired for so many minutes."""
    since = timezone.now() - timedelta(minutes=minutes)
    found = {"kind": "exceptions", "state": "firing", "value": 3, "since": since, **about}
    return AlertRule.objects.create(name=name, **found)


def test_what_fires_is_named_with_what_was_found_and_since_when(root: Client) -> None:
    firing = rule("orders fail", severity="critical")

    page = root.get(OVERVIEW).content.decode()

    assert f'<a href="{reverse("admin:alerts_alertrule_change", args=(firing.pk,))}">orders fail</a>' in page
    assert "critical" in page and "3 exceptions need a person" in page and "5 min 0 s ago" in page


def test_the_gravest_come_first_and_of_those_the_longest(root: Client) -> None:
    rule("c", severity="info", minutes=90)
    rule("b", severity="critical", minutes=5)
    rule("a", severity="critical", minutes=9)
    rule("off", severity="critical", is_active=False)
    rule("calm", severity="critical", state="ok")

    found = root.get(OVERVIEW).context["dashboard"]["alerts"]

    assert [alert.name for alert in found.firing] == ["a", "b", "c"]
    assert not found.has_more


def test_many_lead_to_the_list_of_those_that_fire(root: Client) -> None:
    for number in range(MOST_SHOWN + 1):
        rule(f"r{number}")
    rule("calm", state="ok")

    found = root.get(OVERVIEW).context["dashboard"]["alerts"]

    assert (len(found.firing), found.has_more) == (MOST_SHOWN, True)
    assert root.get(found.firing_url).context["cl"].result_count == MOST_SHOWN + 1


def test_calm_is_said_calmly(root: Client) -> None:
    none_watches = root.get(OVERVIEW).content
    rule("calm", state="ok")
    calm = root.get(OVERVIEW).content

    assert b"No alert rule watches over this service" in none_watches
    assert b"No alert fires." in calm and b"Alerts that fire" not in calm


def test_a_rule_that_only_somebody_else_may_see_is_not_shown(sign_in: Callable[..., Client]) -> None:
    rule("orders fail")
    client = sign_in()
    User.objects.get(username="nobody").user_permissions.add(Permission.objects.get(codename="view_transaction"))

    page = client.get(OVERVIEW)

    assert "alerts" not in page.context["dashboard"]
    assert b"orders fail" not in page.content


def test_hostile_names_are_text(root: Client) -> None:
    rule(HOSTILE)

    assert "<script>alert" not in root.get(OVERVIEW).content.decode()


def test_an_open_overview_notices_that_a_rule_fires(root: Client) -> None:
    """Also where nothing else changes: no worker lives, nothing runs."""
    rows.make_flow()
    quiet = rule("nothing runs", kind="nothing_runs", state="ok")
    before = root.get(reverse("admin:live") + "?of=overview").json()["version"]

    AlertRule.objects.filter(pk=quiet.pk).update(state="firing", sequence=1)

    assert root.get(reverse("admin:live") + "?of=overview").json()["version"] != before
