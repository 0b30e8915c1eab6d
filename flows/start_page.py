"""Starting a transaction from the console: the page of its form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from flows.definition import InvalidDefinition
from flows.models import Flow
from flows.registry_rows import load
from flows.start_form import StartForm
from transactions.models import Transaction

LONGEST_PK = 18


def start_page(model_admin: admin.ModelAdmin, *, request: HttpRequest, flow: Flow) -> HttpResponse:
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": _("Start %(flow)s") % {"flow": flow},
        "flow": flow,
    }
    try:
        definition = load(flow)
    except InvalidDefinition as error:
        problems = [str(problem) for problem in error.problems]
        return TemplateResponse(request, "admin/flow_start.html", {**context, "problems": problems})
    sent = request.POST if request.method == "POST" else None
    form = StartForm(sent, flow=flow, definition=definition, like=_params_like(request, flow=flow))
    if sent is not None and form.is_valid() and (started := form.begin(actor=request.user.get_username())):
        text = _("It was started.") if started.created else _("It had been started before, just so.")
        model_admin.message_user(request, text, messages.SUCCESS if started.created else messages.WARNING)
        pk = Transaction.objects.only("pk").get(instance_id=started.instance_id).pk
        return HttpResponseRedirect(reverse("admin:transactions_transaction_change", args=(pk,)))
    return TemplateResponse(request, "admin/flow_start.html", {**context, "form": form})


def _params_like(request: HttpRequest, *, flow: Flow) -> Mapping[str, Any]:
    """Of the transaction that the address names, if the person may see it."""
    text = request.GET.get("like", "")
    if not text.isascii() or not text.isdecimal() or len(text) > LONGEST_PK:
        return {}
    if not request.user.has_perm("transactions.view_transaction"):
        return {}
    named = Transaction.objects.filter(pk=int(text), flow__name=flow.name)
    return named.values_list("params", flat=True).first() or {}
