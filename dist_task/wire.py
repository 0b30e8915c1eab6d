"""What goes over the wire: the strict JSON parser, field types, serializers that refuse the unknown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import models
from django.utils.dateparse import parse_datetime
from django.utils.http import parse_header_parameters
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.metadata import BaseMetadata
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from dist_task.conf import conf
from dist_task.engine.remarks import LONGEST_REMARK
from dist_task.payload import CONTROL, check_strict
from dist_task.problems import InvalidValue, Meant, shown

LONGEST_INTEGER = 1000  # digits; Python refuses to read more than 4,300


class StrictJSONParser(JSONParser):
    """JSON in UTF-8; every refusal names the place. JSONParser is the base so that Django's cap counts."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        check_charset(media_type or "")
        data = stream.read()
        view = (parser_context or {}).get("view")
        if len(data) > most_bytes(view):
            raise RequestDataTooBig
        value = read_json(data)
        if problems := check_strict(unchecked(value, view=view), path=""):
            raise InvalidValue(problems)
        return value


def most_bytes(view: Any) -> int:
    """Only views that take whole definitions or batches read as much as the server takes at all."""
    return settings.DATA_UPLOAD_MAX_MEMORY_SIZE if getattr(view, "takes_large_bodies", False) else conf.MAX_BODY_BYTES


def unchecked(value: Any, *, view: Any) -> Any:
    """Without the object that the view's own verb checks: looking twice at 100,000 tasks takes seconds."""
    own = getattr(view, "checks_itself", None)
    if own and isinstance(value, dict) and isinstance(value.get(own), dict):
        return {key: child for key, child in value.items() if key != own}
    return value


def check_charset(media_type: str) -> None:
    charset = parse_header_parameters(media_type)[1].get("charset", "utf-8")
    if charset.lower().strip('"') not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType(shown(media_type))


class TooDeep(ParseError):
    """A body of which not even the place can be said: a problem of the whole, with its hint."""

    def __init__(self) -> None:
        message = gettext("The body is nested too deeply.")
        super().__init__(message)
        hint = gettext("use fewer levels, or write the inner ones as a string")
        self.data = {"errors": [{"field": "body", "message": message, "hint": hint}]}


def read_json(data: bytes) -> Any:
    try:
        return json.loads(data.decode(), parse_int=read_integer)
    except UnicodeDecodeError as error:
        raise ParseError(gettext("The body is not UTF-8 text (byte %(byte)d).") % {"byte": error.start}) from None
    except json.JSONDecodeError as error:
        message = gettext("The body is not JSON: line %(line)d, column %(column)d: %(reason)s.")
        place = {"line": error.lineno, "column": error.colno, "reason": error.msg}
        raise ParseError(message % place) from None
    except RecursionError:
        raise TooDeep from None


def read_integer(digits: str) -> int:
    """Longer ones are cut to a number that is refused, with its path, for being beyond 64 bits."""
    return int(digits[:LONGEST_INTEGER])


class OnlyJSON(BaseContentNegotiation):
    """Whatever a client accepts, it gets JSON; what it sends is judged by its Content-Type."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        sent = parse_header_parameters(request.content_type or "")[0].lower()
        return next((parser for parser in parsers if parser.media_type == sent), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, first.media_type


class Methods(BaseMetadata):
    """The answer to OPTIONS."""

    def determine_metadata(self, request: Request, view: Any) -> dict[str, Any]:
        return {"methods": view.allowed_methods}


# -- fields --------------------------------------------------------------------------------------------------


def wire_time(value: datetime | None) -> str | None:
    """UTC with `Z`, to the second, or to the millisecond where there are any."""
    if value is None:
        return None
    precision = "milliseconds" if value.microsecond >= 1000 else "seconds"
    return value.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


class WireTime(serializers.DateTimeField):
    def to_representation(self, value: datetime | None) -> str | None:  # type: ignore[override]
        return wire_time(value)


class Text(serializers.CharField):
    """A string that really is one: numbers are not turned into text, and nothing is trimmed away."""

    def __init__(self, *, single_line: bool = False, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)
        self.single_line = single_line

    @property
    def hint(self) -> str:
        least = 0 if self.allow_blank else 1
        if self.max_length is None:
            return gettext("a string that is not empty") if least else gettext("a string")
        return gettext("a string of %(least)d to %(most)d characters") % {"least": least, "most": self.max_length}

    default_error_messages: ClassVar[dict[str, Any]] = {
        "invalid": _("Not a valid string."),
        "control": _("Has a line break or another control character."),
    }

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if not self.allow_blank and not data.strip():
            self.fail("blank")
        if self.single_line and CONTROL.search(data):
            self.fail("control")
        return data


class Flag(serializers.BooleanField):
    """true or false; not "yes", not 1."""

    @property
    def hint(self) -> str:
        return gettext("true or false, without quotes")

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=shown(data))
        return data


class Seconds(serializers.FloatField):
    """A JSON number; not a string that looks like one."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return float(data)


class Moment(serializers.DateTimeField):
    """A time that says its zone; times without one mean something else in each of them."""

    default_error_messages: ClassVar[dict[str, Any]] = {"zone": _("Must say its time zone.")}

    @property
    def hint(self) -> str:
        return gettext("a time such as 2024-01-31T10:00:00Z")

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str):
            self.fail("invalid", format="2024-01-31T10:00:00Z")
        found = parse_datetime_or_none(data)
        if found is None:
            self.fail("invalid", format="2024-01-31T10:00:00Z")
        if found.tzinfo is None:
            self.fail("zone")
        return found


def parse_datetime_or_none(text: str) -> datetime | None:
    try:
        return parse_datetime(text)
    except ValueError:  # the form of a time, but no day has it
        return None


@extend_schema_field({})
class JSONValue(serializers.JSONField):
    """Any JSON value, null included."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)


@extend_schema_field(OpenApiTypes.OBJECT)
class JSONObject(serializers.Field):
    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": _("Must be a JSON object.")}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("invalid")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


# -- serializers ---------------------------------------------------------------------------------------------


class StrictSerializer(serializers.Serializer):
    """The body of a request: a field that is not declared is an error, next to those of the declared ones."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": _("The body must be a JSON object.")}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        unknown = [key for key in data if key not in self.fields] if isinstance(data, Mapping) else []
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            known: Any = error.detail
            raise serializers.ValidationError({**known, **refusals(unknown)}) from None
        if unknown:
            raise serializers.ValidationError(refusals(unknown))
        return value

    def hint_for(self, place: str) -> str:
        """What may stand there instead; "" where the field does not say."""
        name = re.split(r"[.\[]", place, maxsplit=1)[0]
        if name in self.fields:
            return getattr(self.fields[name], "hint", "")
        if guess := Meant(name, self.fields).guess():
            return gettext("did you mean %(word)s?") % {"word": guess}
        return gettext("known are: %(known)s") % {"known": ", ".join(self.fields)}


def refusals(unknown: list[str]) -> dict[str, list[str]]:
    return {shown(key): [gettext("Unknown field.")] for key in unknown}


class RowSerializer(serializers.ModelSerializer):
    """A row as it is answered."""

    serializer_field_mapping: ClassVar[dict[type[models.Field], type[serializers.Field]]] = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.DateTimeField: WireTime,
    }


class Remark(StrictSerializer):
    """The body of a verb that needs none; who gives a reason finds it in the log."""

    remark = Text(required=False, allow_blank=True, default="", max_length=LONGEST_REMARK)


class Reason(StrictSerializer):
    """The body of a verb that needs one."""

    remark = Text(max_length=LONGEST_REMARK, help_text="Why; kept in the log.")
