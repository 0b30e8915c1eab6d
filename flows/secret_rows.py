"""Stored secrets: sealed, opened, sealed anew; and what a process knows when those of the deployment are added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models.functions import Now
from django.views.decorators.debug import sensitive_variables

from dist_task import given_secrets
from dist_task.sealing import CannotSeal, is_current, seal, unseal

from .models import Secret


class Opened(NamedTuple):
    """Values by name, and why those that have no value cannot be read."""

    values: Mapping[str, str]
    faults: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rotation:
    sealed_anew: int
    current: int
    unreadable: list[str]


@sensitive_variables("value")
def store(name: str, *, value: str, actor: str) -> Secret:
    """Sets or replaces it. Raises CannotSeal."""
    sealed = seal(value, name=name)
    values = {"sealed": sealed, "updated_by": actor, "updated_at": Now()}
    row, _created = Secret.objects.update_or_create(name=name, defaults=values)
    return row


def opened(rows: Iterable[tuple[str, str]]) -> Opened:
    """`rows`: names with what is sealed."""
    values, faults = {}, {}
    for name, sealed in rows:
        try:
            values[name] = unseal(sealed, name=name)
        except CannotSeal as error:
            faults[name] = str(error)
    return Opened(values, faults)


def known(stored: Opened) -> Opened:
    """Those, and what the deployment gives: a variable comes before a file, a file before a row."""
    values = {**stored.values, **given_secrets.in_files(), **given_secrets.in_environment()}
    faults = {name: fault for name, value in values.items() if (fault := given_secrets.fault_of(value))}
    return Opened(
        values={name: value for name, value in values.items() if name not in faults},
        faults={**stored.faults, **faults},
    )


def unreadable() -> list[str]:
    """The names of those that no key of this process opens."""
    return sorted(opened(Secret.objects.values_list("name", "sealed")).faults)


def rotate(*, dry_run: bool) -> Rotation:
    """Seals with the newest key what an older one has sealed. Who sets a secret at the same time wins."""
    sealed_anew, current, unreadable = 0, 0, []
    for row in Secret.objects.order_by("name").iterator():
        if is_current(row.sealed):
            current += 1
            continue
        try:
            sealed = seal(unseal(row.sealed, name=row.name), name=row.name)
        except CannotSeal:
            unreadable.append(row.name)
            continue
        if dry_run or Secret.objects.filter(pk=row.pk, sealed=row.sealed).update(sealed=sealed):
            sealed_anew += 1
    return Rotation(sealed_anew, current, unreadable)
