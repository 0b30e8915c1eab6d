"""The pages of the console, by a name for each: those with an address, and those that a verb's button leads to."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.urls import reverse

from dist_task.alerts.models import AlertRule, Subscription
from dist_task.models import Worker
from flows.models import Connection, Secret, TaskDefinition
from flows.registry_rows import load
from tests.browser.stage import Stage

AUTHORED = {
    "alert-rule": "alerts_alertrule",
    "channel": "alerts_channel",
    "subscription": "alerts_subscription",
    "task-definition": "flows_taskdefinition",
    "connection": "flows_connection",
    "secret": "flows_secret",
    "flow": "flows_flow",
    "user": "auth_user",
    "group": "auth_group",
}
"""What people add, change and delete."""
RUN = {
    "transaction": "transactions_transaction",
    "exception": "exceptions_app_exceptionrecord",
    "log-entry": "dist_task_executionlog",
    "worker": "dist_task_worker",
    "delivery": "alerts_delivery",
    "batch": "batches_batch",
    "approvalrequest": "four_eyes_approvalrequest",
}
"""What the engine writes."""
NO_PAGES = {
    "live": "a few bytes for the live dot",
    **{f"{page}_{what}": "leads to the list" for page in ("transactions", "exceptions") for what in ("views", "view")},
    "jump": "leads to another page",
    "batch_export": "a file",
    "login": "leads who is signed in to the overview; it has a test of its own",
    "logout": "takes no GET",
    "password_change_done": "what the form before it leads to",
    "autocomplete": "JSON, of no field that we have",
    "jsi18n": "a script",
    "view_on_site": "no model of ours has an address elsewhere",
    "flows_flow_delete": "refused: a version stays for the transactions that ran it",
    "alerts_channel_delete": "refused while deliveries name the channel, as they do here",
    **{f"{page}_{verb}": "nobody does that" for page in RUN.values() for verb in ("add", "delete")},
    **{f"{page}_history": "no link leads there: the log tells it" for page in RUN.values()},
}
"""Addresses of the console that are left out, and why."""


def pages(stage: Stage) -> dict[str, str]:
    shown = ("done", "failed", "retrying", "approval", "undone", "large", "hostile", "items", "nested", "paused")
    hostile = stage.hostile.exceptions.get()
    transactions = _url("transactions_transaction_changelist")
    exceptions = _url("exceptions_app_exceptionrecord_changelist")
    return {
        "overview": _url("index"),
        **{f"{name}-list": _url(f"{page}_changelist") for name, page in (RUN | AUTHORED).items()},
        **{f"{name}-add": _url(f"{page}_add") for name, page in AUTHORED.items()},
        **_authored(stage),
        **{f"transaction-{name}": _url("transactions_transaction_change", getattr(stage, name).pk) for name in shown},
        "transaction-view": f"{transactions}?status=failed",
        "transaction-nothing-found": f"{transactions}?instance_id_prefix=nothing",
        "exception": _url("exceptions_app_exceptionrecord_change", stage.exception.pk),
        "exception-retry": _url("exception_retry", stage.exception.pk),
        "exception-hostile": _url("exceptions_app_exceptionrecord_change", hostile.pk),
        "exception-handled": f"{exceptions}?status=handled",
        "exception-groups": _url("exception_groups"),
        "flow-large": _url("flows_flow_change", stage.large.flow_id),
        "flow-difference": _url("flow_difference", stage.orders.pk),
        "flow-start": _url("flow_start", stage.orders.pk) + f"?like={stage.done.pk}",
        "audit": _url("audit"),
        "worker": _url("dist_task_worker_change", Worker.objects.latest("id").pk),
        "log-entry": _url("dist_task_executionlog_change", stage.failed.log.latest("id").pk),
        "delivery": _url("alerts_delivery_change", stage.delivery.pk),
        "batch": _url("batches_batch_change", stage.batch.pk),
        "batch-new": _url("batch_new", "transactions", "compensate") + "?status=failed",
        "approvalrequest": _url("four_eyes_approvalrequest_change", stage.request.pk),
        "approvalrequest-own": _url("four_eyes_approvalrequest_change", stage.own_request.pk),
        "rerun": _url("transaction_rerun", stage.done.pk) + f"?task={load(stage.orders).order[-2]}",
        "tokens": _url("auth_user_tokens", _person().pk),
        "password": _url("password_change"),
        "password-of-another": _url("auth_user_password_change", _person().pk),
        "app": reverse("admin:app_list", kwargs={"app_label": "alerts"}),
    }


def _authored(stage: Stage) -> dict[str, str]:
    """The pages of one row of each kind."""
    rows: dict[str, Any] = {
        "alert-rule": AlertRule.objects.latest("id"),
        "channel": stage.delivery.channel,
        "subscription": Subscription.objects.latest("id"),
        "task-definition": TaskDefinition.objects.latest("id"),
        "connection": Connection.objects.latest("id"),
        "secret": Secret.objects.latest("id"),
        "flow": stage.orders,
        "user": _person(),
        "group": Group.objects.earliest("id"),
    }
    verbs = {"": "change", "-history": "history", "-delete": "delete"}
    return {
        f"{name}{suffix}": _url(f"{AUTHORED[name]}_{verb}", row.pk)
        for name, row in rows.items()
        for suffix, verb in verbs.items()
        if f"{AUTHORED[name]}_{verb}" not in NO_PAGES
    }


def verbs(stage: Stage) -> dict[str, tuple[str, str]]:
    """For each verb a page with a button for it, and the button's action."""
    found = pages(stage)
    buttons = {
        "transaction-failed": ("retry", "cancel", "compensate"),
        "transaction-approval": ("approve", "reject", "pause"),
        "transaction-paused": ("resume",),
        "exception": ("retry", "handle", "skip", "complete", "assign", "comment"),
        "batch": ("pause", "cancel"),
        "approvalrequest": ("approve", "reject"),
        "approvalrequest-own": ("withdraw",),
        "channel": ("test",),
        "delivery": ("redeliver",),
    }
    return {f"{page}.{verb}": (found[page], verb) for page, each in buttons.items() for verb in each}


def _person() -> User:
    return User.objects.get(is_superuser=True)


def _url(name: str, *arguments: Any) -> str:
    return reverse(f"admin:{name}", args=arguments)
