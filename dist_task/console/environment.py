"""Which of a team's services this is, at the top of every page: nobody is to mend production by mistake."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _

PROFILE_NAMES = {"production": _("production"), "development": _("development")}
PRODUCTION_WORDS = frozenset({"production", "prod", "live"})
PRODUCTION_IN_CHINESE = "生产"  # which does not part its words
NO_LETTERS = re.compile(r"[\W\d_]+")


@dataclass(frozen=True, slots=True)
class Environment:
    """`kind` is its colour: "production", or "calm" of all others. `title`: what windows are told apart by, or ""."""

    name: Any
    kind: str
    title: str


def environment() -> Environment:
    """By the name that the deployment gives it; without one, by its profile."""
    given = settings.ENVIRONMENT
    return Environment(given or PROFILE_NAMES[settings.PROFILE], kind_of(given or settings.PROFILE), title=given)


def kind_of(name: str) -> str:
    is_production = PRODUCTION_WORDS.intersection(NO_LETTERS.split(name.lower())) or PRODUCTION_IN_CHINESE in name
    return "production" if is_production else "calm"
