"""Who may do what: roles are Django groups, and views name the permission that each action needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.apps import apps
from django.db.models import Q
from django.db.models.signals import post_migrate
from django.utils.translation import gettext
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from dist_task.conf import conf

VIEW = frozenset(
    {
        "flows.view_flow",
        "flows.view_taskdefinition",
        "flows.view_connection",
        "transactions.view_transaction",
        "dist_task.view_taskrun",
        "dist_task.view_executionlog",
        "dist_task.view_worker",
        "exceptions_app.view_exceptionrecord",
        "alerts.view_alertrule",
        "alerts.view_channel",
        "alerts.view_subscription",
        "alerts.view_delivery",
        "batches.view_batch",
        "four_eyes.view_approvalrequest",
    }
)
START = frozenset({"transactions.add_transaction"})
OPERATE = frozenset(
    {
        "transactions.change_transaction",
        "exceptions_app.retry_exceptionrecord",
        "exceptions_app.handle_exceptionrecord",
        "exceptions_app.assign_exceptionrecord",
        "exceptions_app.comment_exceptionrecord",
        "transactions.pause_transaction",
        "alerts.redeliver_delivery",
        "alerts.test_channel",
    }
)
SUPERVISE = frozenset(
    {
        "transactions.compensate_transaction",
        "transactions.rerun_transaction",
        "exceptions_app.skip_exceptionrecord",
        "exceptions_app.complete_exceptionrecord",
        "batches.add_batch",
        "batches.change_batch",
        "saved_views.share_savedview",
    }
    | {f"alerts.{verb}_alertrule" for verb in ("add", "change", "delete")}
)
WRITE_FLOWS = frozenset(
    {
        "flows.add_flow",
        "flows.change_flow",
        "flows.delete_flow",
        "flows.add_taskdefinition",
        "flows.change_taskdefinition",
        "flows.delete_taskdefinition",
    }
)
SET_SECRETS = frozenset({f"flows.{verb}_secret" for verb in ("add", "change", "delete", "view")})
CONNECT = frozenset(
    permission
    for verb in ("add", "change", "delete")
    for permission in (f"flows.{verb}_connection", f"alerts.{verb}_channel", f"alerts.{verb}_subscription")
)
"""Who registers a connection opens its host for all flows: that is not their authors' to do. Channels lead out, too."""
MANAGE_USERS = frozenset(
    {f"auth.{verb}_{model}" for verb in ("add", "change", "delete", "view") for model in ("user", "group")}
    | {f"knox.{verb}_authtoken" for verb in ("add", "change", "delete", "view")}
)
ROLES: Mapping[str, frozenset[str]] = {
    "viewer": VIEW,
    "submitter": VIEW | START,
    "operator": VIEW | START | OPERATE,
    "supervisor": VIEW | START | OPERATE | SUPERVISE,
    "author": VIEW | WRITE_FLOWS | SET_SECRETS,
    "admin": VIEW | START | OPERATE | SUPERVISE | WRITE_FLOWS | SET_SECRETS | CONNECT | MANAGE_USERS,
}
LAST_APP = "exceptions_app"  # when its permissions exist, all others do


def connect() -> None:
    post_migrate.connect(make_groups, sender=apps.get_app_config(LAST_APP), dispatch_uid="dist_task.roles")


def make_groups(*, using: str = "default", **kwargs: Any) -> None:
    """Roles are code: what a group may do is set at every migrate. Other groups are left alone."""
    from django.contrib.auth.models import Group, Permission

    wanted = Q()
    for name in frozenset().union(*ROLES.values()):
        app, codename = name.split(".")
        wanted |= Q(content_type__app_label=app, codename=codename)
    rows = Permission.objects.using(using).filter(wanted).select_related("content_type")
    known = {f"{row.content_type.app_label}.{row.codename}": row for row in rows}
    for role, names in ROLES.items():
        group, _created = Group.objects.using(using).get_or_create(name=role)
        group.permissions.set([known[name] for name in names if name in known])


def roles_of(user: Any) -> frozenset[str] | None:
    """The names of the user's groups; None for who may do everything: a superuser, and the development profile."""
    if not user.is_authenticated or user.is_superuser:
        return None
    return frozenset(user.groups.values_list("name", flat=True))


class RolePermission(BasePermission):
    """Deny by default: an action without a declared permission is nobody's."""

    message = ""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user.is_authenticated:
            return conf.ANONYMOUS_API
        action = getattr(view, "action", None)
        if action in (None, "metadata"):
            return True  # a method that is not there: 405
        needed = view.permissions.get(action)
        self.message = gettext("This needs the permission %(permission)s.") % {"permission": needed}
        return needed is not None and request.user.has_perm(needed)
