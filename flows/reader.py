"""Reads an object of a definition key by key; what is wrong goes to `problems`, the default comes back."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_noop as _

from dist_task.problems import Meant, Problems, shown


@dataclass(frozen=True, slots=True)
class Reader:
    data: Mapping[str, Any]
    path: str
    problems: Problems

    def refuse(
        self, key: str, message: str, /, *, meant: Meant | None = None, hint: str = "", **parameters: object
    ) -> None:
        self.problems.add_at(self.path, (key,), message, meant=meant, hint=hint, **parameters)

    def refuse_other_keys(self, *, known: Collection[str]) -> None:
        strangers = [key for key in self.data if key not in known]
        if self.problems.is_full:
            self.problems.count(len(strangers))
            return
        for key in strangers:
            told = ", ".join(sorted(known))
            self.refuse(key, _("unknown key"), meant=Meant(key, known), hint=_("known are: %(known)s"), known=told)

    def text(self, key: str, *, longest: int, default: str = "") -> str:
        value = self.data.get(key, default)
        if not isinstance(value, str):
            self.refuse(key, _("must be a string"))
            return default
        if len(value) > longest:
            self.refuse(key, _("must have at most %(longest)d characters"), longest=longest)
            return default
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self.data.get(key, default)
        if isinstance(value, bool):
            return value
        self.refuse(key, _("must be true or false"))
        return default

    def choice(self, key: str, *, choices: Collection[str], default: str) -> str:
        value = self.data.get(key, default)
        if isinstance(value, str) and value in choices:
            return value
        self.refuse(key, _("must be one of: %(choices)s"), meant=Meant(value, choices), choices=", ".join(choices))
        return default

    def number(self, key: str, *, least: float, most: float, default: float) -> float:
        value = self.data.get(key, default)
        # Compared before anything is converted: an int of any size is fine here, and NaN is never in between.
        if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.refuse(key, _("must be a number from %(least)s to %(most)s"), least=f"{least:g}", most=most)
        return default

    def whole(self, key: str, *, least: int, most: int, default: int) -> int:
        value = self.data.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.refuse(key, _("must be a whole number from %(least)d to %(most)d"), least=least, most=most)
        return default

    def items(self, key: str) -> list[Any]:
        value = self.data.get(key, [])
        if isinstance(value, list):
            return value
        self.refuse(key, _("must be a list"))
        return []

    def member(self, key: str) -> Mapping[str, Any]:
        value = self.data.get(key, {})
        if isinstance(value, dict):
            return value
        self.refuse(key, _("must be an object"))
        return {}

    def quoted(self, key: str) -> str:
        return shown(self.data.get(key, ""))
