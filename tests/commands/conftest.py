"""Commands are run as the command line runs them, but in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str  # what the command wrote there, and the sentence that ends it


@pytest.fixture
def run() -> Callable[..., Ran]:
    def run_command(*words: str, **options: Any) -> Ran:
        out, err = StringIO(), StringIO()
        try:
            call_command(*words, stdout=out, stderr=err, **options)
        except CommandError as error:
            return Ran(error.returncode, out.getvalue(), f"{err.getvalue()}{error}")
        return Ran(0, out.getvalue(), err.getvalue())

    return run_command
