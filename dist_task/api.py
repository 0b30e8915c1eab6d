"""What all views of the API share: strict query parameters, row ids that never fail oddly, the router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpRequest
from django.utils.translation import gettext
from django_filters import rest_framework as filters
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.routers import SimpleRouter
from rest_framework.viewsets import GenericViewSet

from dist_task import paging
from dist_task.envelope import flatten
from dist_task.problems import InvalidValue, Problem, shown
from dist_task.wire import StrictSerializer

MOST_ID = 2**63 - 1


class Router(SimpleRouter):
    """Documented paths have no trailing slash; one is tolerated, without a redirect (it loses the body)."""

    def __init__(self) -> None:
        super().__init__(trailing_slash=False)
        self.trailing_slash = "/?"


class ApiViewSet(GenericViewSet):
    """`permissions`: what each action needs. `query`: the query parameters that an action takes."""

    permissions: ClassVar[Mapping[str, str]] = {}
    query: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    paged: ClassVar[tuple[str, ...]] = ("list",)
    filter_backends: Any = (filters.DjangoFilterBackend,)
    lookup_value_regex = "[^/]+"
    takes_large_bodies = False

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.action not in (None, "metadata"):
            check_query(request, allowed=self.query_of(self.action))

    def query_of(self, action: str) -> set[str]:
        allowed = set(self.query.get(action, ()))
        if action in self.paged:
            allowed.update(paging.PARAMETERS)
        filterset = getattr(self, "filterset_class", None)
        if action == "list" and filterset:
            allowed.update(filterset.base_filters)
        return allowed

    def valid(self, serializer_class: type[StrictSerializer]) -> dict[str, Any]:
        """The body of the request, checked."""
        data = self.request.data
        serializer = serializer_class(data=[] if data is None else data)  # null is no object, like a list
        if not serializer.is_valid():
            found = flatten(serializer.errors)
            raise InvalidValue(Problem(place, text, serializer.hint_for(place)) for place, text in found)
        return serializer.validated_data

    def after_key(self, text: str) -> Any:
        """The key that `after` names, None when it cannot be one."""
        return row_id(text)


def check_query(request: Request | HttpRequest, *, allowed: set[str]) -> None:
    errors: dict[str, list[str]] = {}
    for name, values in request.GET.lists():
        if name not in allowed:
            errors[shown(name)] = [gettext("Unknown query parameter.")]
        elif len(values) > 1:
            errors[name] = [gettext("Is given more than once.")]
        elif not values[0]:
            errors[name] = [gettext("Must not be empty.")]
    if errors:
        raise ValidationError(errors)


def row_id(text: str) -> int | None:
    """The number of a row; None when no row can have it."""
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MOST_ID:
        return int(text)
    return None


def flag(request: Request, *, name: str) -> bool:
    """A query parameter that is true or false, and false when it is not there."""
    text = request.query_params.get(name, "false")
    if text not in ("true", "false", "1", "0"):
        raise ValidationError({name: [gettext("Must be true or false.")]})
    return text in ("true", "1")


class Flag(filters.TypedChoiceFilter):
    """Django-filter's own boolean filter passes over what it does not understand."""

    def __init__(self, **kwargs: Any) -> None:
        words = {"true": True, "false": False, "1": True, "0": False}
        super().__init__(choices=[(word, word) for word in words], coerce=words.get, **kwargs)
