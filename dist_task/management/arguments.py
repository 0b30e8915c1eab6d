"""What may stand on the command line: times, ages, lists of ids; and who stands behind a command."""

from __future__ import annotations

import getpass
import json
import os
import re
import sys
from argparse import ArgumentTypeError
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from dist_task.engine.four_eyes.rule import COMMAND

WRONG_ARGUMENTS = 2
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str) -> datetime:
    """`2026-01-31T10:00:00Z`, `2026-01-31 10:00` in the configured time zone, or a day: its first moment."""
    try:
        found = parse_datetime(text) or _first_moment(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a time: {error}") from error
    if found is None:
        raise ArgumentTypeError(f"{text!r} is not a time such as 2026-01-31 or 2026-01-31T10:00:00Z")
    return timezone.make_aware(found) if timezone.is_naive(found) else found


def _first_moment(text: str) -> datetime | None:
    day = parse_date(text)
    return datetime.combine(day, time.min) if day else None


def age(text: str) -> timedelta:
    """`90s`, `15m`, `12h`, `30d`, `2w`."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if not match:
        raise ArgumentTypeError(f"{text!r} is not an age such as 30d, 12h or 90m")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text):
        raise ArgumentTypeError(f"{text!r} is not a number of seconds")
    return float(text)


def json_value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentTypeError(f"is not JSON: {error}") from error


def words(text: str) -> list[str]:
    """A list with commas."""
    return [word for word in (part.strip() for part in text.split(",")) if word]


def add_language(parser: CommandParser) -> None:
    """For commands whose output is sentences of the API and the console. A terminal sends no Accept-Language."""
    codes = [code for code, _name in settings.LANGUAGES]
    parser.add_argument("--language", choices=codes, default=settings.LANGUAGE_CODE, help="of what is printed")


def read_text(source: str) -> str:
    """The text of a file, or of standard input for `-`. Whoever names a bad file gets exit code 2."""
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{source} cannot be read: {error}", returncode=WRONG_ARGUMENTS) from error


def read_lines(source: str) -> list[str]:
    """One id per line; empty lines and lines that begin with # are passed over."""
    text = read_text(source)
    if "\0" in text:  # PostgreSQL knows no such character
        raise CommandError(f"{source} is no text: it has a NUL", returncode=WRONG_ARGUMENTS)
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def actor() -> str:
    """Who is written into the log for what a command does."""
    try:
        return f"{COMMAND}{getpass.getuser()}"
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return f"{COMMAND}{os.getuid()}"
