"""Who may do what: a walk over every address, and what each role is for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from knox.models import AuthToken

from dist_task.roles import ROLES, make_groups
from flows.models import Flow
from tests.api.conftest import Api, as_role, checked, token_of
from tests.commands.rows import fail_one, make_flow

OPEN = {"/health", "/livez", "/readyz"}
BY_TOKEN = {"/api/v1/callbacks/x1"}  # what stands in the address is all that is asked for
ELSEWHERE = ("/admin", "/i18n")  # the console has its own login; the language is anybody's to choose
METHODS = ("GET", "POST", "PUT", "DELETE")


def addresses(patterns: list[Any], prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        where = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, where)
        elif isinstance(pattern, URLPattern):
            yield where


def example(pattern: str) -> str:
    """An address that the pattern matches."""
    path = re.sub(r"\(\?P<\w+>[^()]*\)", "x1", pattern)
    return "/" + re.sub(r"\\Z|[\^$]|/\?", "", path)


ADDRESSES = sorted({example(each) for each in addresses(get_resolver().url_patterns)})
GUARDED = [each for each in ADDRESSES if each not in OPEN | BY_TOKEN and each != "/" and not each.startswith(ELSEWHERE)]


def test_the_walk_knows_the_addresses() -> None:
    assert {"/api/v1/flows", "/api/v1/transactions/x1/retry", "/api/schema", "/api/docs"} <= set(GUARDED)
    assert set(ADDRESSES) >= OPEN | BY_TOKEN


@pytest.mark.parametrize("address", GUARDED)
def test_nothing_is_answered_without_a_token(db: None, closed: None, address: str) -> None:
    for method in METHODS:
        answer = Api().ask(method, address)
        assert answer.status == 401
        assert answer.response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("address", GUARDED)
def test_nothing_is_answered_to_who_has_no_role(db: None, closed: None, address: str) -> None:
    token = AuthToken.objects.create(User.objects.create_user("nobody"))[1]

    statuses = {Api(token=token).ask(method, address).status for method in METHODS}

    assert 403 in statuses
    assert statuses <= {403, 405}


@pytest.mark.parametrize("address", sorted(OPEN))
def test_health_is_open_even_with_a_bad_token(db: None, closed: None, address: str) -> None:
    assert Api(token="bad").get(address).status in (200, 503)


@pytest.mark.parametrize("address", sorted(BY_TOKEN))
@pytest.mark.parametrize("token", ["", "bad"])
def test_an_address_with_a_token_asks_for_nothing_else(db: None, closed: None, address: str, token: str) -> None:
    statuses = {method: Api(token=token).ask(method, address).status for method in METHODS}

    assert statuses == {"GET": 405, "POST": 404, "PUT": 405, "DELETE": 405}


ACTIONS = {
    "view": ("GET", "/api/v1/transactions/i1"),
    "figures": ("GET", "/api/v1/stats/overview"),
    "schema": ("OPTIONS", "/api/v1/flows"),
    "start": ("POST", "/api/v1/transactions"),
    "batch": ("POST", "/api/v1/transactions/batch"),
    "retry": ("POST", "/api/v1/transactions/i1/retry"),
    "cancel": ("POST", "/api/v1/transactions/i1/cancel"),
    "pause": ("POST", "/api/v1/transactions/i1/pause"),
    "resume": ("POST", "/api/v1/transactions/i1/resume"),
    "complete a wait": ("POST", "/api/v1/transactions/i1/complete"),
    "skip": ("POST", "/api/v1/exceptions/1/skip"),
    "complete": ("POST", "/api/v1/exceptions/1/complete"),
    "assign": ("POST", "/api/v1/exceptions/1/assign"),
    "comment": ("POST", "/api/v1/exceptions/1/comment"),
    "approve": ("POST", "/api/v1/transactions/i1/approve"),
    "reject": ("POST", "/api/v1/transactions/i1/reject"),
    "compensate": ("POST", "/api/v1/transactions/i1/compensate"),
    "rerun": ("POST", "/api/v1/transactions/i1/rerun"),
    "preview a rerun": ("GET", "/api/v1/transactions/i1/rerun"),
    "handle": ("POST", "/api/v1/exceptions/1/handle"),
    "retry exception": ("POST", "/api/v1/exceptions/1/retry"),
    "alert rules": ("GET", "/api/v1/alert-rules"),
    "deliveries": ("GET", "/api/v1/deliveries"),
    "channels": ("GET", "/api/v1/channels"),
    "test a channel": ("POST", "/api/v1/channels/1/test"),
    "redeliver": ("POST", "/api/v1/deliveries/1/redeliver"),
    "batches": ("GET", "/api/v1/batches"),
    "make a batch": ("POST", "/api/v1/batches"),
    "pause a batch": ("POST", "/api/v1/batches/1/pause"),
    "requests": ("GET", "/api/v1/approval-requests"),
    "approve a request": ("POST", "/api/v1/approval-requests/1/approve"),
    "reject a request": ("POST", "/api/v1/approval-requests/1/reject"),
    "validate": ("POST", "/api/v1/flows/validate"),
    "simulate": ("POST", "/api/v1/flows/simulate"),
    "write": ("POST", "/api/v1/flows"),
    "change": ("PUT", "/api/v1/flows/x"),
    "activate": ("POST", "/api/v1/flows/x/activate"),
    "deactivate": ("POST", "/api/v1/flows/x/deactivate"),
    "delete": ("DELETE", "/api/v1/flows/x"),
}
VIEW = {"view", "figures", "schema", "validate", "simulate", "alert rules", "deliveries", "channels", "batches"} | {
    "preview a rerun",
    "requests",
}
START = {"start", "batch"}
OPERATE = {"retry", "cancel", "approve", "reject", "handle", "retry exception", "test a channel", "redeliver"} | {
    "pause",
    "resume",
    "assign",
    "comment",
}
SUPERVISE = {"compensate", "rerun", "skip", "complete", "complete a wait", "make a batch", "pause a batch"} | {
    "approve a request",
    "reject a request",
}
WRITE = {"write", "change", "activate", "deactivate", "delete"}
MAY = {
    "viewer": VIEW,
    "submitter": VIEW | START,
    "operator": VIEW | START | OPERATE,
    "supervisor": VIEW | START | OPERATE | SUPERVISE,
    "author": VIEW | WRITE,
    "admin": VIEW | START | OPERATE | SUPERVISE | WRITE,
}


@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_role_may_do_what_it_is_for_and_nothing_else(db: None, closed: None, role: str) -> None:
    api = as_role(role)

    allowed = {name for name, (method, path) in ACTIONS.items() if api.ask(method, path).status != 403}

    assert allowed == MAY[role]


def test_a_superuser_may_do_everything(db: None, closed: None) -> None:
    user = User.objects.create_superuser("root")
    api = Api(token=AuthToken.objects.create(user)[1])

    assert {api.ask(*action).status for action in ACTIONS.values()} <= {200, 400, 404}


def test_the_actor_is_the_user_of_the_token(db: None, closed: None) -> None:
    record = fail_one("i1", flow=make_flow())

    as_role("operator").post(f"/api/v1/exceptions/{record.pk}/handle")

    record.refresh_from_db()
    assert record.handled_by == "operator-user"


@pytest.mark.parametrize("change", ["expired", "revoked", "inactive"])
def test_a_token_ends(db: None, closed: None, change: str) -> None:
    token = token_of("viewer")
    if change == "expired":
        AuthToken.objects.update(expiry=AuthToken.objects.get().created - timedelta(days=1))
    elif change == "revoked":
        AuthToken.objects.all().delete()
    else:
        User.objects.update(is_active=False)

    assert Api(token=token).get("/api/v1/flows").status == 401


def test_a_bad_token_is_401_even_where_none_is_needed(db: None) -> None:
    assert Api(token="0" * 64).get("/api/v1/flows").status == 401


def test_tokens_are_kept_as_hashes(db: None) -> None:
    token = token_of("viewer")

    assert token not in str(list(AuthToken.objects.values_list()))


def test_a_session_needs_the_csrf_token_to_change_things(db: None, closed: None, flow: Flow) -> None:
    user = User.objects.create_superuser("root")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")

    assert checked(client.get("/api/v1/flows")).status == 200
    refused = checked(client.post(f"/api/v1/flows/{flow.pk}/deactivate"))
    assert refused.status == 403
    assert "CSRF" in refused.message


def test_migrating_again_restores_the_roles(db: None) -> None:
    viewer = Group.objects.get(name="viewer")
    expected = set(viewer.permissions.all())
    viewer.permissions.clear()

    make_groups()

    assert set(viewer.permissions.all()) == expected
    assert len(expected) == len(ROLES["viewer"])
    assert Group.objects.get(name="admin").permissions.count() == len(ROLES["admin"])


def test_create_token_prints_a_token_that_works(db: None, closed: None) -> None:
    out = StringIO()

    call_command("create_token", "ann", "--role", "viewer", "--days", "1", stdout=out, stderr=StringIO())

    api = Api(token=out.getvalue().strip())
    assert api.get("/api/v1/flows").status == 200
    assert api.post("/api/v1/flows", {}).status == 403


def test_create_token_for_nobody_is_refused(db: None) -> None:
    with pytest.raises(CommandError, match="no user"):
        call_command("create_token", "nobody")
