"""What a person may do, in one query: Django asks for their own permissions and for those of their groups apart."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission
from django.http import HttpRequest


class PermissionBackend(ModelBackend):
    """Named in the settings before Django's backend, which signs people in and finds here what it would ask for."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> None:
        return None

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        is_asked_for = user_obj.is_active and not user_obj.is_anonymous and obj is None
        if is_asked_for and not user_obj.is_superuser and not hasattr(user_obj, "_perm_cache"):
            user_obj._perm_cache = {f"{app}.{name}" for app, name in _permissions_of(user_obj)}
        return super().get_all_permissions(user_obj, obj=obj)


def _permissions_of(user: Any) -> Any:
    names = ("content_type__app_label", "codename")
    of_groups = Permission.objects.filter(group__user=user).values_list(*names).order_by()
    return user.user_permissions.values_list(*names).order_by().union(of_groups)
