"""Which rows a batch is about: what a filter of the API or of the console's list leaves, or what is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django_filters import rest_framework as filters

from dist_task.api import MOST_ID
from dist_task.errors import InvalidRequest
from dist_task.problems import InvalidValue, Problem, shown
from exceptions_app.console_filters import ConsoleExceptionFilter
from exceptions_app.filters import ExceptionFilter
from exceptions_app.models import ExceptionRecord
from transactions.console_filters import ConsoleTransactionFilter
from transactions.filters import TransactionFilter
from transactions.models import Transaction

from .words import Target

MOST_NAMED = 10_000
MOST_TOLD = 5
ROWS: Mapping[str, Any] = {Target.EXCEPTIONS: ExceptionRecord, Target.TRANSACTIONS: Transaction}
API_FILTERS: Mapping[str, type[filters.FilterSet]] = {
    Target.EXCEPTIONS: ExceptionFilter,
    Target.TRANSACTIONS: TransactionFilter,
}
CONSOLE_FILTERS: Mapping[str, type[filters.FilterSet]] = {
    Target.EXCEPTIONS: ConsoleExceptionFilter,
    Target.TRANSACTIONS: ConsoleTransactionFilter,
}
NO_FILTERS = frozenset({"ordering"})


def matching(
    target: str, given: Mapping[str, str], *, filter_of: Mapping[str, type[filters.FilterSet]]
) -> QuerySet[Any]:
    """InvalidValue for a filter that there is not, or whose value is wrong."""
    filterset_class = filter_of[target]
    known = set(filterset_class.base_filters) - NO_FILTERS
    if unknown := [name for name in given if name not in known]:
        raise InvalidValue(Problem(f"filter.{shown(name)}", _("There is no such filter.")) for name in unknown)
    filterset = filterset_class(given, queryset=ROWS[target].objects.all())
    if not filterset.is_valid():
        errors = filterset.errors.items()
        raise InvalidValue(Problem(f"filter.{name}", str(texts[0])) for name, texts in errors)
    rows: QuerySet[Any] = filterset.qs
    return rows


def named(target: str, ids: Sequence[Any]) -> QuerySet[Any]:
    """By the ids of exceptions, or the instance ids of transactions; InvalidRequest where one of them is nobody's."""
    field, is_one = ("pk", _is_row_id) if target == Target.EXCEPTIONS else ("instance_id", _is_name)
    wanted = {each for each in ids if is_one(each)}
    rows: QuerySet[Any] = ROWS[target].objects.filter(**{f"{field}__in": wanted})
    known = set(rows.values_list(field, flat=True))
    wrong = [each for each in ids if not is_one(each) or each not in known]
    if wrong:
        told = ", ".join(shown(str(each)) for each in wrong[:MOST_TOLD])
        raise InvalidRequest(_("%(count)d of the ids are nobody's: %(ids)s") % {"count": len(wrong), "ids": told})
    return rows


def _is_row_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_ID


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 64 and "\0" not in value
