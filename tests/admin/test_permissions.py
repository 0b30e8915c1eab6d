"""What a person may do: their own permissions and those of their groups, asked for at once."""

from __future__ import annotations

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission, User
from django.test import RequestFactory
from pytest_django import DjangoAssertNumQueries


@pytest.fixture
def ana(db: None) -> User:
    """An operator who may also compensate."""
    user = User.objects.create_user("ana", password="correct horse")
    user.groups.add(Group.objects.get(name="operator"))
    user.user_permissions.add(Permission.objects.get(codename="compensate_transaction"))
    return User.objects.get(pk=user.pk)


def test_they_are_those_that_django_finds_in_one_query(
    ana: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        assert ana.has_perm("exceptions_app.retry_exceptionrecord")
        assert ana.has_perm("transactions.compensate_transaction")
        assert not ana.has_perm("exceptions_app.skip_exceptionrecord")
        assert ana.has_module_perms("flows") and not ana.has_module_perms("knox")
        found = ana.get_all_permissions()

    assert found == ModelBackend().get_all_permissions(User.objects.get(pk=ana.pk))


def test_who_was_switched_off_may_do_nothing(ana: User) -> None:
    ana.is_active = False

    assert not ana.has_perm("exceptions_app.retry_exceptionrecord")
    assert ana.get_all_permissions() == set()


def test_a_superuser_may_do_everything(ana: User) -> None:
    ana.is_superuser = True

    assert ana.has_perm("exceptions_app.skip_exceptionrecord")
    assert len(ana.get_all_permissions()) == Permission.objects.count()


def test_signing_in_is_left_to_django(ana: User) -> None:
    request = RequestFactory().post("/")

    found = authenticate(request, username="ana", password="correct horse")

    assert found is not None and found.backend == "django.contrib.auth.backends.ModelBackend"  # type: ignore[attr-defined]
    assert authenticate(request, username="ana", password="wrong") is None
