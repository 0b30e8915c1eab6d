"""API tokens: shown once, kept as a hash, revocable; and nobody climbs by making one."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from knox.models import get_token_model


def address(user: User) -> str:
    return reverse("admin:auth_user_tokens", args=(user.pk,))


def test_a_token_is_shown_once_and_kept_as_a_hash(root: Client) -> None:
    user = User.objects.create_user("robot")

    text = root.post(address(user), {"days": "30"}).content.decode()

    found = re.search(r"Bearer (\w+)", text)
    assert found is not None
    secret = found.group(1)
    token = get_token_model().objects.get(user=user)
    assert secret not in (token.digest, token.token_key)
    assert secret not in root.get(address(user)).content.decode()
    assert "no-store" in root.get(address(user))["Cache-Control"]


def test_a_revoked_token_is_gone(root: Client) -> None:
    user = User.objects.create_user("robot")
    root.post(address(user), {"days": "30"})
    token = get_token_model().objects.get(user=user)

    root.post(address(user), {"revoke": token.digest})

    assert not get_token_model().objects.filter(user=user).exists()


def test_days_are_checked(root: Client) -> None:
    user = User.objects.create_user("robot")

    for days in ("0", "-1", "x", "", "99999"):
        root.post(address(user), {"days": days})

    assert not get_token_model().objects.exists()


def test_an_operator_makes_no_tokens(sign_in: Callable[..., Client]) -> None:
    user = User.objects.create_user("robot")

    assert sign_in("operator").post(address(user), {"days": "30"}).status_code == 403
    assert not get_token_model().objects.exists()


def test_an_admin_neither_makes_a_superuser_nor_a_superusers_token(sign_in: Callable[..., Client]) -> None:
    admin = sign_in("admin")
    root, robot = User.objects.create_superuser("boss"), User.objects.create_user("robot")
    page = reverse("admin:auth_user_change", args=(robot.pk,))

    refused = admin.post(address(root), {"days": "30"})
    admin.post(
        page,
        {
            "username": "robot",
            "is_active": "on",
            "is_superuser": "on",
            "date_joined_0": "2026-01-01",
            "date_joined_1": "00:00",
        },
    )

    robot.refresh_from_db()
    assert refused.status_code == 403
    assert not robot.is_superuser
    assert admin.post(reverse("admin:auth_user_change", args=(root.pk,)), {"username": "mine"}).status_code == 403


def test_an_admin_deletes_people_but_no_superuser(sign_in: Callable[..., Client]) -> None:
    admin = sign_in("admin")
    root, robot = User.objects.create_superuser("boss"), User.objects.create_user("robot")
    chosen = {"action": "delete_selected", "_selected_action": [root.pk, robot.pk], "post": "yes"}

    assert admin.post(reverse("admin:auth_user_delete", args=(root.pk,)), {"post": "yes"}).status_code == 403
    assert admin.post(reverse("admin:auth_user_changelist"), chosen).status_code == 403
    assert User.objects.filter(username__in=("boss", "robot")).count() == 2
    admin.post(reverse("admin:auth_user_delete", args=(robot.pk,)), {"post": "yes"})

    assert list(User.objects.filter(username__in=("boss", "robot"))) == [root]
