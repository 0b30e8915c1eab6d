"""A person's API tokens: made here, shown once, kept only as a hash."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from knox.models import get_token_model

from dist_task.conf import conf

MOST_DAYS = 3650


class TokenForm(forms.Form):
    days = forms.IntegerField(
        label=gettext_lazy("Valid for days"),
        min_value=1,
        max_value=MOST_DAYS,
        initial=lambda: conf.TOKEN_DAYS,
    )


def tokens_view(model_admin: admin.ModelAdmin) -> Callable[..., HttpResponse]:
    @never_cache
    def view(request: HttpRequest, user_id: int) -> HttpResponse:
        owner = get_object_or_404(User, pk=user_id)
        if not model_admin.has_change_permission(request, owner):
            raise PermissionDenied  # nobody gets the rights of a superuser by making a token for one
        if request.method == "POST" and "revoke" in request.POST:
            return _revoke(request, owner=owner)
        return _tokens_page(model_admin, request=request, owner=owner)

    return view


def _revoke(request: HttpRequest, *, owner: User) -> HttpResponse:
    digest = request.POST["revoke"].replace("\0", "")
    count, _rows = get_token_model().objects.filter(user=owner, digest=digest).delete()
    if count:
        messages.success(request, _("The token was revoked: from now on it opens nothing."))
    return HttpResponseRedirect(request.path)


@sensitive_variables("secret")
def _tokens_page(model_admin: admin.ModelAdmin, *, request: HttpRequest, owner: User) -> HttpResponse:
    form = TokenForm(request.POST or None)
    secret = ""
    if request.method == "POST" and form.is_valid():
        expiry = timedelta(days=form.cleaned_data["days"])
        _token, secret = get_token_model().objects.create(user=owner, expiry=expiry)
        model_admin.log_change(request, owner, "API token created")
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": _("API tokens of %(user)s") % {"user": owner.get_username()},
        "owner": owner,
        "roles": owner.groups.order_by("name"),
        "form": form,
        "secret": secret,
        "tokens": get_token_model().objects.filter(user=owner).order_by("-created")[:100],
    }
    return TemplateResponse(request, "admin/tokens.html", context)
