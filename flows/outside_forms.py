"""The console's forms for what leads outside: connections, and secrets whose values go in and never come out."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from dist_task.executors.base import executors
from dist_task.executors.literals import literal_secrets
from dist_task.given_secrets import LONGEST_SECRET, fault_of
from dist_task.sealing import has_keys
from flows.forms import SMALL_CODE, StrictJSONField
from flows.models import Connection, Secret


class ConnectionForm(forms.ModelForm):
    kind = forms.ChoiceField(
        label=_("Type"), choices=lambda: [(kind, kind) for kind in connection_kinds()], help_text=_("Of its tasks.")
    )

    class Meta:
        model = Connection
        fields = ("name", "kind", "config", "description", "is_active")
        widgets = {"config": SMALL_CODE}
        field_classes = {"config": StrictJSONField}
        help_texts = {"config": _("JSON. Credentials are secrets: write ${secrets.NAME} where they belong.")}

    def clean_config(self) -> dict[str, Any]:
        config = self.cleaned_data["config"]
        if not isinstance(config, dict):
            raise forms.ValidationError(_("must be an object"))
        return config

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if "config" in values and "kind" in values:
            for problem in connection_problems(values["kind"], values["config"]):
                self.add_error("config", problem)
        return values


def connection_kinds() -> list[str]:
    return [kind for kind, executor in executors().items() if hasattr(executor, "check_connection")]


def connection_problems(kind: str, config: dict[str, Any]) -> list[str]:
    check: Any = executors()[kind]
    return literal_secrets(config) or check.check_connection(config)


class NeverShown(forms.Textarea):
    """What was typed into it is not shown again, after a mistake neither."""

    def format_value(self, value: Any) -> None:
        return None


class SecretForm(forms.ModelForm):
    value = forms.CharField(
        label=_("Value"),
        strip=False,
        max_length=LONGEST_SECRET,
        widget=NeverShown(attrs={"rows": 3, "cols": 60, "autocomplete": "off", "spellcheck": "false"}),
        help_text=_("It is sealed, and nobody is shown it again: to see that it works, use it."),
    )

    class Meta:
        model = Secret
        fields = ("name",)

    def clean_value(self) -> str:
        """Browsers send line breaks as CRLF, and pasting leaves one at the end."""
        value = str(self.cleaned_data["value"]).replace("\r\n", "\n").strip("\n")
        if fault := fault_of(value):
            raise forms.ValidationError(fault)
        return value

    def clean(self) -> dict[str, Any]:
        if not has_keys():
            raise forms.ValidationError(_("There are no keys to seal it with: set DIST_TASK_SECRETS_KEYS."))
        return super().clean() or self.cleaned_data
