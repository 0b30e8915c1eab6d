"""The pages of the console, by a name for each."""

from __future__ import annotations

from django.urls import reverse

from flows.registry_rows import load
from tests.browser.stage import Stage


def _tasks(stage: Stage) -> list[str]:
    return list(load(stage.orders).order[-2:])


def pages(stage: Stage) -> dict[str, str]:
    lists = {
        "transactions": "transactions_transaction",
        "exceptions": "exceptions_app_exceptionrecord",
        "log": "dist_task_executionlog",
        "flows": "flows_flow",
        "task-definitions": "flows_taskdefinition",
        "connections": "flows_connection",
        "secrets": "flows_secret",
        "workers": "dist_task_worker",
        "users": "auth_user",
        "alert-rules": "alerts_alertrule",
        "channels": "alerts_channel",
        "subscriptions": "alerts_subscription",
        "deliveries": "alerts_delivery",
        "batches": "batches_batch",
    }
    shown = ("done", "failed", "retrying", "approval", "undone", "large", "hostile", "items", "nested")
    hostile = stage.hostile.exceptions.get()
    return {
        "overview": reverse("admin:index"),
        **{name: reverse(f"admin:{page}_changelist") for name, page in lists.items()},
        **{
            f"transaction-{name}": reverse("admin:transactions_transaction_change", args=(getattr(stage, name).pk,))
            for name in shown
        },
        "exception": reverse("admin:exceptions_app_exceptionrecord_change", args=(stage.exception.pk,)),
        "exception-hostile": reverse("admin:exceptions_app_exceptionrecord_change", args=(hostile.pk,)),
        "exception-retry": reverse("admin:exception_retry", args=(stage.exception.pk,)),
        "flow": reverse("admin:flows_flow_change", args=(stage.orders.pk,)),
        "flow-large": reverse("admin:flows_flow_change", args=(stage.large.flow_id,)),
        "flow-difference": reverse("admin:flow_difference", args=(stage.orders.pk,)),
        "flow-start": reverse("admin:flow_start", args=(stage.orders.pk,)) + f"?like={stage.done.pk}",
        "flow-add": reverse("admin:flows_flow_add"),
        "groups": reverse("admin:exception_groups"),
        "handled": reverse("admin:exceptions_app_exceptionrecord_changelist") + "?status=handled",
        "nothing-found": reverse("admin:transactions_transaction_changelist") + "?instance_id_prefix=nothing",
        "view": reverse("admin:transactions_transaction_changelist") + "?status=failed",
        "audit": reverse("admin:audit"),
        **{f"{name}-add": reverse(f"admin:alerts_{name}_add") for name in ("alertrule", "channel", "subscription")},
        "channel": reverse("admin:alerts_channel_change", args=(stage.delivery.channel_id,)),
        "delivery": reverse("admin:alerts_delivery_change", args=(stage.delivery.pk,)),
        "batch": reverse("admin:batches_batch_change", args=(stage.batch.pk,)),
        "batch-new": reverse("admin:batch_new", args=("transactions", "compensate")) + "?status=failed",
        "rerun": reverse("admin:transaction_rerun", args=(stage.done.pk,)) + "?task=" + next(iter(_tasks(stage))),
        "log-entry": reverse("admin:dist_task_executionlog_change", args=(stage.failed.log.latest("id").pk,)),
    }
