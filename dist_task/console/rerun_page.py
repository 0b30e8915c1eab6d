"""Running a transaction again: the page on which its tasks are chosen, and which says what that would do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dist_task.console.confirm import ReasonForm
from dist_task.engine import operate
from dist_task.engine.rerun import Rerun, next_id
from dist_task.errors import DistTaskError
from dist_task.problems import shown
from flows.definition import InvalidDefinition
from flows.registry_rows import load
from transactions.models import Transaction

MOST_OFFERED = 200
MOST_CHOSEN = 100
LONGEST_LIST = MOST_CHOSEN * 65


class TaskIds(forms.CharField):
    """Task ids with commas or blanks between them."""

    def clean(self, value: Any) -> Any:
        found = super().clean(value).replace(",", " ").split()
        if len(found) > MOST_CHOSEN:
            raise forms.ValidationError(gettext("At most %(most)d tasks.") % {"most": MOST_CHOSEN})
        return found or None


class RerunForm(ReasonForm):
    """Of several transactions: their tasks are named."""

    tasks = TaskIds(
        label=_("From the tasks"),
        required=False,
        max_length=LONGEST_LIST,
        help_text=_("Task ids with commas between them; they run again, with all that depends on them. Empty: all."),
    )
    force = forms.BooleanField(
        label=_("Do it again"),
        required=False,
        help_text=_("Also where tasks have done something: they are called again, under another Idempotency-Key."),
    )
    field_order = ("tasks", "force", "remark")


class OneRerunForm(ReasonForm):
    """Of one transaction, whose page shows what its chosen tasks would do."""

    new_id = forms.CharField(
        label=_("Instance id of the new transaction"), max_length=64, widget=forms.TextInput(attrs={"size": 40})
    )
    force = forms.BooleanField(label=_("Yes, do it again"), required=False)
    field_order = ("new_id", "force", "remark")


def rerun_page(model_admin: admin.ModelAdmin, *, request: HttpRequest, txn: Transaction) -> HttpResponse:
    """The plan of the tasks in the address; a confirmed one is carried out as the address says."""
    chosen = request.GET.getlist("task")[: MOST_CHOSEN + 1]
    plan, refusal = _planned(txn, tasks=chosen)
    confirmed = request.method == "POST" and plan is not None
    form = OneRerunForm(request.POST if confirmed else None, initial={"new_id": next_id(txn.instance_id)})
    if plan is not None and not plan.done:
        del form.fields["force"]
    if confirmed and form.is_valid() and (again := _confirmed(txn, request=request, tasks=chosen, form=form)):
        text = gettext("it runs again as %(id)s") % {"id": again.instance_id}
        model_admin.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:transactions_transaction_change", args=(again.pk,)))
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": gettext("Run %(id)s again") % {"id": shown(txn.instance_id)},
        "txn": txn,
        "choices": _choices(txn, chosen=chosen),
        "most_offered": MOST_OFFERED,
        "plan": plan,
        "refusal": refusal,
        "form": form,
        "action": f"?{urlencode([('task', each) for each in chosen])}",
        "has_children": txn.children.exists(),
    }
    return TemplateResponse(request, "admin/rerun.html", context)


def _confirmed(
    txn: Transaction, *, request: HttpRequest, tasks: Sequence[str], form: OneRerunForm
) -> Transaction | None:
    """None where it was refused; then the form says why."""
    values = form.cleaned_data
    try:
        return operate.rerun_transaction(
            txn.instance_id,
            actor=request.user.get_username(),
            tasks=tasks,
            new_id=values["new_id"],
            force=values.get("force", False),
            remark=values["remark"],
        )
    except DistTaskError as error:
        form.add_error(None, str(error))
        return None


def _planned(txn: Transaction, *, tasks: Sequence[str]) -> tuple[Rerun | None, str]:
    """Or why it cannot be."""
    if len(tasks) > MOST_CHOSEN:
        return None, gettext("At most %(most)d tasks.") % {"most": MOST_CHOSEN}
    try:
        return operate.plan_rerun(txn.instance_id, tasks=tasks), ""
    except (DistTaskError, InvalidDefinition) as error:
        return None, str(error)


def _choices(txn: Transaction, *, chosen: Sequence[str]) -> list[tuple[str, str, bool]]:
    """Id, name, and whether it is chosen, in the order of the flow: what is chosen always, and others up to a limit."""
    try:
        definition = load(txn.flow)
    except InvalidDefinition:
        return []
    rows = [(task_id, definition.tasks[task_id].name, task_id in chosen) for task_id in definition.order]
    return [row for n, row in enumerate(rows) if n < MOST_OFFERED or row[2]]
