"""What this process has resolved as a secret is not to be seen again, in whatever form a service echoes it.

Pure but for the one `REDACTOR` of the process, and for the log records of the process once it knows a secret. A value
that was learned stays learned: services echo yesterday's credentials, too.
"""

from __future__ import annotations

import html
import json
import logging
import re
import threading
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import orjson

MASKED = "***"
SHORTEST_SECRET = 4
"""Characters. To mask a shorter one would destroy texts that have nothing to do with it."""
_SHORTEST_FOR_BASE64 = 8  # bytes; what is left of a shorter one within base64 would be found by chance
_SHORTEST_LINE = 16
_BASE64_URL = str.maketrans("+/", "-_")


class Redactor:
    """`is_needed` is false as long as the process knows no secret: ask it first where time counts."""

    def __init__(self) -> None:
        self.is_needed = False
        self._values: frozenset[str] = frozenset()
        self._pattern = re.compile("(?!)")
        self._needles: tuple[bytes, ...] = ()
        self._changing = threading.Lock()

    def learn(self, value: str) -> None:
        """From now on. One that is too short to be a secret is passed over."""
        if value in self._values or len(value) < SHORTEST_SECRET:
            return
        with self._changing:
            values = self._values | {value}
            plain = {form for known in values for form in _forms(known)}
            cores = {core for known in values for core in _base64_cores(known)}
            self._pattern = _pattern(plain, cores=cores)
            self._needles = tuple(_needles(plain | cores))
            self._values = values
            if not self.is_needed:
                _guard_logs(self)
            self.is_needed = True

    def finds(self, value: Any) -> bool:
        """Whether a value that JSON can hold has a secret in it; true, too, where only a closer look could tell."""
        try:
            text = orjson.dumps(value)
        except (TypeError, ValueError, RecursionError):
            return self.is_needed
        return any(needle in text for needle in self._needles)

    def text(self, text: str) -> str:
        return self._pattern.sub(MASKED, text)


REDACTOR = Redactor()


def _forms(value: str) -> Iterator[str]:
    """As services and libraries write it: as it is, or escaped for a URL, JSON, HTML, Python, a dump."""
    for part in {value, value.strip(), *_long_lines(value)}:
        if len(part) < SHORTEST_SECRET:
            continue
        text = part.encode("utf-8", errors="replace")
        for quoted in (quote(text), quote(text, safe=""), quote_plus(text)):
            yield quoted
            yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)
        yield part
        for is_ascii in (True, False):
            once = json.dumps(part, ensure_ascii=is_ascii)[1:-1]
            yield once
            yield json.dumps(once, ensure_ascii=is_ascii)[1:-1]
        yield html.escape(part)
        yield html.escape(part, quote=False)
        yield repr(part)[1:-1]
        yield text.hex()
        yield text.hex().upper()


def _needles(forms: set[str]) -> Iterator[bytes]:
    """The forms as orjson writes them within a string. It refuses lone surrogates, in a value that holds them, too."""
    for form in sorted(forms):
        try:
            yield orjson.dumps(form)[1:-1]
        except TypeError:
            continue


def _long_lines(value: str) -> list[str]:
    """Of a private key a service may show one line. Its frame is no secret."""
    lines = [line.strip() for line in value.splitlines()]
    return [line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----")]


def _base64_cores(value: str) -> Iterator[str]:
    """What base64 makes of it wherever it stands in a longer text (`user:password`), without the letters at both ends.

    Those hold bits of the neighbours as well; `_pattern` takes them along.
    """
    text = value.encode("utf-8", errors="replace")
    if len(text) < _SHORTEST_FOR_BASE64:
        yield b64encode(text).decode().rstrip("=")
        return
    for shift in range(3):
        letters = b64encode(bytes(shift) + text).decode().rstrip("=")
        core = letters[-(-shift * 8 // 6) : (shift + len(text)) * 8 // 6]
        yield core
        yield core.translate(_BASE64_URL)


def _pattern(plain: set[str], *, cores: set[str]) -> re.Pattern[str]:
    """The longest first, since one secret may begin with another."""
    letter = "[A-Za-z0-9+/_-]?"
    within = "|".join(map(re.escape, sorted(cores, key=len, reverse=True)))
    others = "|".join(map(re.escape, sorted(plain, key=len, reverse=True)))
    return re.compile(f"{others}|{letter}(?:{within}){letter}=*")


def _guard_logs(redactor: Redactor) -> None:
    """Every record of the process, whoever handles it: a library may tell of an error with the credentials in it."""
    make = logging.getLogRecordFactory()

    def make_guarded(*args: Any, **kwargs: Any) -> logging.LogRecord:
        return _redacted(make(*args, **kwargs), redactor=redactor)

    logging.setLogRecordFactory(make_guarded)


def _redacted(record: logging.LogRecord, *, redactor: Redactor) -> logging.LogRecord:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001  # wrong arguments of a log call: logging itself reports those
        return record
    shown = redactor.text(message)
    if shown != message:
        record.msg, record.args = shown, ()
    if record.exc_info and record.exc_info[0] is not None:
        traceback = logging.Formatter().formatException(record.exc_info)
        shown = redactor.text(traceback)
        if shown != traceback:  # handlers write what was formatted before; the error itself must not reach them
            record.exc_text, record.exc_info = shown, None
    return record
