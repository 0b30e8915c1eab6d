"""`params_schema`: what the params of a start must look like, as a JSON Schema (draft 2020-12). Pure.

A flow that has one refuses a start with the wrong params before anything runs. References lead nowhere outside the
schema, and patterns are refused: the params of a stranger could keep an expression busy for ever.
"""

from collections.abc import Mapping
from typing import Any, Self

from django.utils.translation import gettext_noop as _
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from dist_task.payload import containers, keys_of
from dist_task.problems import InvalidValue, Problems, shown

LONGEST_REASON = 200
MOST_PROBLEMS = 20
REFUSED_KEYS = frozenset(("pattern", "patternProperties", "$dynamicRef", "$id", "$anchor", "$dynamicAnchor"))
ROOT = "params"


class ParamsSchema:
    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._validator = Draft202012Validator(schema, registry=Registry())

    @property
    def schema(self) -> Mapping[str, Any]:
        return self._validator.schema

    @classmethod
    def read(cls, value: Any, *, path: str, problems: Problems) -> Self | None:
        """None where it is wrong, which is reported."""
        if not isinstance(value, dict):
            problems.add(path, _("must be an object"))
            return None
        known = len(problems)
        _report_refused_keys(value, path=path, problems=problems)
        try:
            Draft202012Validator.check_schema(value)
        except SchemaError as error:
            message = _("is not a JSON Schema: %(reason)s")
            problems.add_at(path, error.absolute_path, message, reason=shown(error.message, length=LONGEST_REASON))
        return cls(value) if len(problems) == known else None

    def check(self, params: Mapping[str, Any]) -> None:
        """Raises InvalidValue that names all that is wrong, with its path."""
        problems = Problems(root=ROOT)
        try:
            for error in self._validator.iter_errors(params):
                reason = shown(error.message, length=LONGEST_REASON)
                problems.add_at(ROOT, error.absolute_path, "%(reason)s", reason=reason)
                if len(problems) >= MOST_PROBLEMS:
                    break
        except (Unresolvable, RecursionError):
            problems.add(ROOT, _("cannot be judged: the schema of the flow refers to what is not in it, or to itself"))
        if problems:
            raise InvalidValue(problems.report())


def _report_refused_keys(schema: Mapping[str, Any], *, path: str, problems: Problems) -> None:
    for container in containers(schema):
        for key in REFUSED_KEYS.intersection(container.value) if isinstance(container.value, dict) else ():
            problems.add_at(path, keys_of((container.link, key)), _("is not supported"))
        ref = container.value.get("$ref") if isinstance(container.value, dict) else None
        if isinstance(ref, str) and not ref.startswith("#"):
            problems.add_at(
                path, keys_of((container.link, "$ref")), _("must refer to a part of this schema (#/$defs/...)")
            )
