"""The console's forms: channels and rules, with what is wrong said at the field."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from .addresses import channel_problems
from .models import AlertRule, Channel, Subscription
from .words import OF_EXCEPTIONS, ChannelKind, RuleKind


class ChannelForm(forms.ModelForm):
    class Meta:
        model = Channel
        fields = ("name", "kind", "url", "recipients", "secret", "language", "is_active")
        widgets = {
            "url": forms.URLInput(attrs={"size": 100}),
            "recipients": forms.Textarea(attrs={"rows": 3, "cols": 60}),
        }
        help_texts = {
            "url": _("Credentials in it are secrets: https://hooks.slack.com/services/${secrets.SLACK_HOOK}"),
        }

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if {"kind", "url", "recipients", "secret"} <= values.keys():
            problems = channel_problems(
                values["kind"], url=values["url"], recipients=values["recipients"], secret=values["secret"]
            )
            for field, problem in problems.items():
                self.add_error(field, problem)
        return values


class RuleForm(forms.ModelForm):
    """What a kind of rule does not use is set back, so that nobody reads a condition that is none."""

    class Meta:
        model = AlertRule
        fields = (
            "name",
            "kind",
            "severity",
            "channels",
            "is_active",
            "flow_name",
            "outcome",
            "threshold",
            "window_seconds",
            "age_seconds",
            "calm_seconds",
        )
        widgets = {"channels": forms.CheckboxSelectMultiple}

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("kind") not in RuleKind.values:
            return values
        if values["kind"] in OF_EXCEPTIONS:
            values["age_seconds"] = AlertRule._meta.get_field("age_seconds").default
        else:
            values |= {"flow_name": "", "outcome": "", "threshold": 1, "window_seconds": 0}
        return values


class SubscriptionForm(forms.ModelForm):
    class Meta:
        model = Subscription
        fields = ("channel", "flow_name", "on_success", "on_failed", "on_cancelled", "is_active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "channel" in self.fields:  # not where somebody may only look
            self.fields["channel"].queryset = Channel.objects.filter(kind=ChannelKind.WEBHOOK)  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if not any(values.get(name) for name in ("on_success", "on_failed", "on_cancelled")):
            raise forms.ValidationError(_("Choose at least one status."))
        return values
