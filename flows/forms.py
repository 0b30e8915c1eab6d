"""The console's forms: registering a flow, and an entry of the registry of task definitions."""

from __future__ import annotations

from typing import Any

from django import forms
from django.forms.fields import InvalidJSONInput
from django.utils.translation import gettext_lazy as _

from dist_task.executors.base import executors
from dist_task.payload import CONTROL, check_strict
from flows.connection_rows import learn_connections
from flows.definition import InvalidDefinition
from flows.fields import parse_fields
from flows.models import Flow, TaskDefinition
from flows.register import register

CODE = forms.Textarea(attrs={"rows": 24, "cols": 100, "class": "code", "spellcheck": "false"})
SMALL_CODE = forms.Textarea(attrs={"rows": 8, "cols": 100, "class": "code", "spellcheck": "false"})
EXAMPLE = '{"name": "payment_flow", "tasks": []}'


class StrictJSONField(forms.JSONField):
    """JSON that can be stored; what was typed wrong is shown again as it was typed."""

    def to_python(self, value: Any) -> Any:
        try:
            parsed = super().to_python(value)
        except (ValueError, RecursionError) as error:  # integers of thousands of digits, thousands of brackets
            raise forms.ValidationError(_("is not JSON")) from error
        if problems := check_strict(parsed, path=""):
            raise forms.ValidationError([str(problem) for problem in problems])
        return parsed

    def bound_data(self, data: Any, initial: Any) -> Any:
        return initial if data is None else InvalidJSONInput(data)


class RegisterFlowForm(forms.ModelForm):
    """Registers the next version; nothing is registered while anything is wrong."""

    create_user = ""
    registered: Flow | None = None

    class Meta:
        model = Flow
        fields = ("name", "flow_type", "description", "definition")
        widgets = {"definition": CODE, "description": forms.Textarea(attrs={"rows": 2, "cols": 100})}
        help_texts = {"definition": _("JSON. A name that exists gets its next version.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["definition"].initial = EXAMPLE

    def clean_name(self) -> str:
        return _single_line(self.cleaned_data["name"])

    def clean_flow_type(self) -> str:
        return _single_line(self.cleaned_data["flow_type"])

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if not self.errors:
            self._register(values)
        return values

    def _register(self, values: dict[str, Any]) -> None:
        try:
            self.registered = register(
                name=values["name"],
                flow_type=values["flow_type"],
                definition=values["definition"],
                create_user=self.create_user,
                description=values["description"],
            )
        except InvalidDefinition as error:
            self.add_error("definition", [str(problem) for problem in error.problems])


def _single_line(text: str) -> str:
    if CONTROL.search(text):
        raise forms.ValidationError(_("Has a line break or another control character."))
    return text


class FlowForm(forms.ModelForm):
    """What of a flow may change: a version never changes its definition."""

    class Meta:
        model = Flow
        fields = ("description", "is_active")
        widgets = {"description": forms.Textarea(attrs={"rows": 2, "cols": 100})}


class TaskDefinitionForm(forms.ModelForm):
    type = forms.ChoiceField(label=_("Type"), choices=lambda: [(kind, kind) for kind in executors()])
    runbook_url = forms.URLField(
        label=_("Runbook"),
        required=False,
        max_length=200,
        assume_scheme="https",
        help_text=_("What to do when this task fails."),
    )

    class Meta:
        model = TaskDefinition
        fields = ("name", "type", "description", "config", "inputs", "runbook_url")
        widgets = {"config": SMALL_CODE, "inputs": SMALL_CODE}
        field_classes = {"config": StrictJSONField, "inputs": StrictJSONField}

    def clean_config(self) -> dict[str, Any]:
        config = self.cleaned_data["config"]
        if config is None:
            return {}
        if not isinstance(config, dict):
            raise forms.ValidationError(_("must be an object"))
        return config

    def clean_inputs(self) -> list[Any]:
        inputs = self.cleaned_data["inputs"]
        if inputs is None:
            return []
        _fields, problems = parse_fields(inputs)
        if problems:
            raise forms.ValidationError([str(problem) for problem in problems])
        return inputs

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if "config" in values and "type" in values:
            learn_connections()
            for problem in default_problems(values["type"], values["config"]):
                self.add_error("config", problem)
        return values


def default_problems(kind: str, config: dict[str, Any]) -> list[str]:
    """What is wrong with a default. It may be partial: what an empty one lacks is the task's to give."""
    executor = executors()[kind]
    lacking = set(executor.check_config({}))
    return [problem for problem in executor.check_config(config) if problem not in lacking]
