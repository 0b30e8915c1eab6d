"""The form that starts a transaction: it asks for what the flow's params_schema, or its tasks' input fields, name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.utils.html import escape
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dist_task.engine import start as starts
from dist_task.errors import DistTaskError
from dist_task.problems import InvalidValue, child_path
from flows.definition import FlowDefinition
from flows.fields import InvalidInput, task_parameters
from flows.forms import SMALL_CODE, StrictJSONField
from flows.models import Flow

MOST_ASKED = 60
"""So many fields are asked for one by one; what is beyond them is written as JSON."""
LONGEST_TEXT = 10_000
LONGEST_NAME = 50
"""Of a property that is asked for: a longer one is not shown, nor named in refusals, in full."""
MOST_CHOICES = 200
WHOLE_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,300}\s*")
SCHEMA_TYPES = {"string": "string", "integer": "int", "number": "float", "boolean": "bool"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One value of the params. `group` is the task that takes it; `type` one of flows.fields, or "*" for any JSON."""

    path: tuple[str, ...]
    type: str
    required: bool = False
    description: str = ""
    default: Any = None  # what counts where it is left empty
    suggested: Any = None
    choices: tuple[Any, ...] = ()
    group: str = ""

    @property
    def field(self) -> str:
        """Its name in the form, which is what refusals call it as well."""
        path = "params"
        for key in self.path:
            path = child_path(path, key)
        return path


def asked_for(definition: FlowDefinition) -> list[Asked]:
    """By its schema where the flow has one, which all params have to fit; else what its tasks take."""
    schema = definition.params_schema
    found = _of_schema(schema.schema) if schema is not None else _of_tasks(definition)
    named = (each for each in found if 0 < len(each.path[-1]) <= LONGEST_NAME)
    by_name = {each.field: each for each in islice(named, MOST_ASKED)}
    return list(by_name.values())


def _of_schema(schema: Mapping[str, Any]) -> Iterator[Asked]:
    properties, required = schema.get("properties", {}), schema.get("required", ())
    for name, about in properties.items():
        told = about if isinstance(about, dict) else {}
        choices = told.get("enum", ())
        is_choice = 0 < len(choices) <= MOST_CHOICES and all(isinstance(each, str) and each for each in choices)
        yield Asked(
            (name,),
            type=SCHEMA_TYPES.get(told.get("type", ""), "*") if isinstance(told.get("type"), str) else "*",
            required=name in required,
            description=str(told.get("description") or told.get("title") or ""),
            suggested=told.get("default"),
            choices=tuple(choices) if is_choice else (),
        )


def _of_tasks(definition: FlowDefinition) -> Iterator[Asked]:
    """Of those that are given their params; others say themselves what they take."""
    for task_id in definition.order:
        spec = definition.tasks[task_id]
        if spec.input is not None or spec.foreach is not None:
            continue
        for field in spec.inputs:
            yield Asked(
                (task_id, field.name),
                type=field.type,
                required=field.required and field.default is None,
                description=field.description,
                default=field.default,
                group=spec.name,
            )


class NumberField(forms.FloatField):
    """A whole number stays one: a float has not all digits of a large one."""

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and WHOLE_NUMBER.fullmatch(value):
            return int(value)
        return super().to_python(value)


class StartForm(forms.Form):
    instance_id = forms.CharField(
        label=gettext_lazy("Instance id"),
        max_length=64,
        strip=False,
        help_text=gettext_lazy("How your business calls it. The same id twice is the same transaction."),
    )
    rest = StrictJSONField(
        label=gettext_lazy("Further parameters"),
        required=False,
        widget=SMALL_CODE,
        help_text=gettext_lazy("A JSON object. What is asked for above wins."),
    )

    def __init__(self, data: Any, *, flow: Flow, definition: FlowDefinition, like: Mapping[str, Any]) -> None:
        """`like`: the params of another transaction, to begin with."""
        self._flow, self._definition = flow, definition
        self.asked = asked_for(definition)
        suggested = {each.field: each.suggested for each in self.asked if _can_hold(each, each.suggested)}
        values, rest = _parted(like, asked=self.asked)
        super().__init__(data, initial={**suggested, **values, "rest": rest or None})
        for each in self.asked:
            self.fields[each.field] = _form_field(each)
        if not self.asked:
            self.fields["rest"].label, self.fields["rest"].help_text = _("Parameters"), _("A JSON object.")
        self.order_fields(["instance_id", *(each.field for each in self.asked), "rest"])

    @property
    def groups(self) -> list[tuple[str, list[BoundField]]]:
        """The fields that are asked for, by the task that takes them."""
        found: dict[str, list[BoundField]] = {}
        for each in self.asked:
            found.setdefault(each.group, []).append(self[each.field])
        return list(found.items())

    def clean_rest(self) -> dict[str, Any]:
        rest = self.cleaned_data["rest"]
        if rest is None:
            return {}
        if not isinstance(rest, dict):
            raise forms.ValidationError(_("must be an object"))
        return rest

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if not self.errors:
            values["params"] = _merged(values["rest"], asked=self.asked, values=values)
            self._check_tasks(values["params"])
        return values

    def begin(self, *, actor: str) -> starts.Started | None:
        """None where it was refused; then the form says why."""
        values = self.cleaned_data
        try:
            return starts.start(
                starts.StartRequest(values["instance_id"], self._flow.pk, values["params"]), actor=actor
            )
        except InvalidValue as error:
            _refuse(self, error)
        except DistTaskError as error:
            self.add_error(None, str(error))
        return None

    def _check_tasks(self, params: dict[str, Any]) -> None:
        """What its first attempt would say of a task's params is better said now."""
        for task_id in dict.fromkeys(each.path[0] for each in self.asked if each.group):
            try:
                task_parameters(self._definition.tasks[task_id], params=params)
            except InvalidInput as error:
                _refuse(self, error)


def _refuse(form: StartForm, error: InvalidValue) -> None:
    """Each problem at its field; of what was written as JSON with its path."""
    for problem in error.problems:
        if problem.path in form.fields:
            form.add_error(problem.path, problem.message)
        else:
            form.add_error(None, str(problem))


def _form_field(asked: Asked) -> forms.Field:
    common: dict[str, Any] = {"label": asked.path[-1], "required": asked.required, "help_text": _told(asked)}
    if asked.choices:
        choices = [(each, each) for each in asked.choices]
        return forms.ChoiceField(choices=choices if asked.required else [("", "–"), *choices], **common)
    if asked.type == "string":
        return forms.CharField(max_length=LONGEST_TEXT, strip=False, empty_value=None, **common)
    if asked.type in ("int", "int64"):
        return forms.IntegerField(**common)
    if asked.type in ("float", "float64"):
        return NumberField(**common)
    if asked.type == "bool":
        words = [("", "–"), (True, _("Yes")), (False, _("No"))]
        return forms.TypedChoiceField(choices=words, coerce=lambda text: text == "True", empty_value=None, **common)
    if asked.type == "time":
        return forms.CharField(max_length=40, empty_value=None, **common)
    field = StrictJSONField(widget=forms.Textarea(attrs={"rows": 2, "cols": 60, "class": "code"}), **common)
    field.empty_values = [None]  # an empty list or text is a value
    return field


def _told(asked: Asked) -> str:
    """Escaped: a form shows its help as it is."""
    parts = [asked.description[:300], "" if asked.type == "*" else asked.type]
    if asked.default is not None:
        parts.append(_("default: %(value)s") % {"value": str(asked.default)[:100]})
    return escape(" · ".join(filter(None, parts)))


def _merged(rest: Mapping[str, Any], *, asked: Iterable[Asked], values: Mapping[str, Any]) -> dict[str, Any]:
    """What was left empty is left out, so that its default counts."""
    params: dict[str, Any] = deepcopy(dict(rest))
    for each in asked:
        value = values.get(each.field)
        if value is None or (value == "" and each.type != "*") or (value == "" and each.choices):
            continue
        *above, last = each.path
        inner = params
        for key in above:
            if not isinstance(inner.get(key), dict):
                inner[key] = {}
            inner = inner[key]
        inner[last] = value
    return params


def _parted(params: Mapping[str, Any], *, asked: Iterable[Asked]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of the fields that are asked for, and the rest: also what a field would give back otherwise."""
    rest: dict[str, Any] = deepcopy(dict(params))
    values: dict[str, Any] = {}
    for each in asked:
        inner: Any = rest
        for key in each.path[:-1]:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(inner, dict) and _can_hold(each, inner.get(each.path[-1])):
            values[each.field] = inner.pop(each.path[-1])
            if not inner and inner is not rest:
                del rest[each.path[0]]
    return values, rest


def _can_hold(asked: Asked, value: Any) -> bool:
    """Whether the field, left as it is shown, gives just this value: what is empty counts as left out, and a line of
    text has no breaks."""
    if asked.choices:
        return value in asked.choices
    if asked.type in ("string", "time"):
        return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and value.isprintable()
    if asked.type == "bool":
        return isinstance(value, bool)
    if asked.type in ("int", "int64"):
        return isinstance(value, int) and not isinstance(value, bool)
    if asked.type in ("float", "float64"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return value is not None
