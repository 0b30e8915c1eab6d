"""What a registered connection of kind `db` says: where the database is, and what tasks may do there. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from django.utils.translation import gettext as _

from dist_task.executors.http import unknown_keys

BARRIER_TABLE = "dist_task_barrier"
OPERATIONS = ("insert", "update", "delete", "upsert")
DIALECTS = {"postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306}
TLS = ("off", "prefer", "require", "verify")
FILES = ("ca_file", "cert_file", "key_file")
TEXTS = ("user", "password", "socket", *FILES)
KEYS = frozenset({"url", "tables", "max_rows", "connect_seconds", "tls", "create_barrier", "cap", *TEXTS})
MOST_ROWS = 10_000
MOST_CAP = 10_000  # calls at once
DEFAULT_ROWS = 100
MOST_CONNECT_SECONDS = 60
DEFAULT_CONNECT_SECONDS = 5.0
NAME = re.compile(r"(?!.*\$\{)[^\x00-\x1f\x7f-\x9f\ud800-\udfff%.]{1,63}")
"""Of tables and columns: both databases quote all else. A % is a marker of both drivers, a dot comes after a schema."""
TEMPLATE = "${"


@dataclass(frozen=True, slots=True)
class Table:
    columns: frozenset[str]
    operations: frozenset[str]


@dataclass(frozen=True, slots=True)
class Access:
    """`socket`: a folder (PostgreSQL) or a file (MySQL); "" for TCP. `tls`: one of TLS."""

    name: str
    dialect: str
    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    socket: str
    tls: str
    ca_file: str
    cert_file: str
    key_file: str
    tables: Mapping[str, Table]
    max_rows: int
    connect_seconds: float
    create_barrier: bool

    @property
    def place(self) -> str:
        """For people: where it is, without who."""
        return self.socket or f"{self.host}:{self.port}"


def access_of(name: str, settings: Mapping[str, Any], *, is_filled: bool = False) -> Access:
    """`settings` are sound (see `problems_of`). Of a URL that waits for a secret only the scheme is known."""
    url = settings["url"]
    parts = urlsplit(url if is_filled or TEMPLATE not in url else url.partition(":")[0] + "://")
    dialect = DIALECTS.get(parts.scheme, "")
    texts = {key: settings.get(key, "") for key in ("socket", *FILES)}
    return Access(
        name=name,
        dialect=dialect,
        host=parts.hostname or "localhost",
        port=parts.port or DEFAULT_PORTS.get(dialect, 0),
        database=_database(parts),
        user=settings.get("user") or unquote(parts.username or ""),
        password=settings.get("password") or unquote(parts.password or ""),
        tls=settings.get("tls", "verify" if texts["ca_file"] else "prefer"),
        tables={key: _table(value) for key, value in settings["tables"].items()},
        max_rows=settings.get("max_rows", DEFAULT_ROWS),
        connect_seconds=float(settings.get("connect_seconds", DEFAULT_CONNECT_SECONDS)),
        create_barrier=settings.get("create_barrier", False),
        **texts,
    )


def problems_of(settings: Mapping[str, Any], *, is_filled: bool = False) -> list[str]:
    """One sentence for each, without anything that may be a secret.

    Unless it `is_filled`, a template may stand where a secret is to come.
    """
    problems = unknown_keys(settings, known=KEYS)
    if is_filled or TEMPLATE not in str(settings.get("url")):
        problems += _url_problems(settings)
    problems += [_("%(key)s must be a string") % {"key": key} for key in TEXTS if not _is_text(settings.get(key, ""))]
    problems += _limit_problems(settings)
    if settings.get("tls", "prefer") not in TLS:
        problems.append(_("tls must be one of %(choices)s") % {"choices": ", ".join(TLS)})
    if not isinstance(settings.get("create_barrier", False), bool):
        problems.append(_("create_barrier must be true or false"))
    return problems + _tables_problems(settings.get("tables"))


def shown_name(name: object) -> str:
    return ascii(name)[:100]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _database(parts: SplitResult) -> str:
    return unquote(parts.path.removeprefix("/"))


def _table(value: Mapping[str, Any]) -> Table:
    return Table(columns=frozenset(value["columns"]), operations=frozenset(value["operations"]))


def _url_problems(settings: Mapping[str, Any]) -> list[str]:
    url = settings.get("url")
    sentence = _("url is required, like postgresql://user@host:5432/database or mysql://user@host/database")
    if not isinstance(url, str):
        return [sentence]
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:  # it would say the part that is wrong, and that may be a password
        return [sentence]
    if parts.scheme not in DIALECTS or not _database(parts) or "/" in _database(parts):
        return [sentence]
    if parts.query or parts.fragment:
        return [_("url must end with the database: options have keys of their own")]
    if not (parts.username or settings.get("user")):
        return [_("a user is required, in the url or as user")]
    return []


def _limit_problems(settings: Mapping[str, Any]) -> list[str]:
    problems = []
    rows = settings.get("max_rows", DEFAULT_ROWS)
    if isinstance(rows, bool) or not isinstance(rows, int) or not 1 <= rows <= MOST_ROWS:
        problems.append(_("max_rows must be a whole number from 1 to %(most)d") % {"most": MOST_ROWS})
    cap = settings.get("cap", 1)
    if not isinstance(cap, int) or isinstance(cap, bool) or not 1 <= cap <= MOST_CAP:
        problems.append(_("cap must be a whole number from 1 to %(most)d") % {"most": MOST_CAP})
    seconds = settings.get("connect_seconds", DEFAULT_CONNECT_SECONDS)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= MOST_CONNECT_SECONDS:
        problems.append(_("connect_seconds must be a number up to %(most)d") % {"most": MOST_CONNECT_SECONDS})
    return problems


def _tables_problems(tables: object) -> list[str]:
    if not isinstance(tables, Mapping) or not tables:
        return [_('tables is required, like {"accounts": {"columns": ["id", "balance"], "operations": ["update"]}}')]
    return [sentence for name, value in tables.items() for sentence in _table_problems(name, value)]


def _table_problems(name: object, value: object) -> list[str]:
    shown = {"table": shown_name(name)}
    if not isinstance(name, str) or not _is_table_name(name):
        return [_("tables: %(table)s is not a name of a table (schema.table where it needs one)") % shown]
    if name.rpartition(".")[2] == BARRIER_TABLE:
        return [_("tables: %(table)s is what makes effects happen once; no task may change it") % shown]
    if not isinstance(value, Mapping) or value.keys() != {"columns", "operations"}:
        return [_("tables: %(table)s must have columns and operations, and nothing else") % shown]
    problems = []
    if not _are_names(value["columns"]):
        problems.append(_("tables: columns of %(table)s must be a list of names") % shown)
    operations = value["operations"]
    if not isinstance(operations, list) or not operations or not set(map(str, operations)) <= set(OPERATIONS):
        choices = {**shown, "choices": ", ".join(OPERATIONS)}
        problems.append(_("tables: operations of %(table)s must be a list of %(choices)s") % choices)
    return problems


def _is_table_name(name: str) -> bool:
    parts = name.split(".")
    return len(parts) <= 2 and all(NAME.fullmatch(part) for part in parts)


def _are_names(columns: object) -> bool:
    if not isinstance(columns, list) or not columns:
        return False
    return all(isinstance(column, str) and NAME.fullmatch(column) for column in columns)
