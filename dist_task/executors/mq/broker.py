"""A connection of kind `mq`: which broker, what may be published there, how long a confirm is waited for. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import ExecutionError
from dist_task.executors.checks import unknown_keys
from dist_task.executors.connections import Connection
from dist_task.payload import CONTROL, MASKED

DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671, "redis": 6379, "rediss": 6379, "memory": 0}
WITH_EXCHANGES = frozenset({"amqp", "amqps"})
WITH_TLS = frozenset({"amqps", "rediss"})
KEYS = frozenset({"url", "exchange", "topics", "confirm_seconds", "max_bytes", "ca_file", "cap"})
DEFAULT_CONFIRM_SECONDS = 30.0
LEAST_CONFIRM_SECONDS, MOST_CONFIRM_SECONDS = 0.1, 3_600.0
MOST_BYTES = 134_217_728
"""RabbitMQ takes no larger message."""
MOST_CAP = 10_000  # messages under way at once
LONGEST_NAME_BYTES = 255
"""Of a topic or an exchange: AMQP's short string."""
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_BLANK = re.compile(r"\s")


@dataclass(frozen=True, slots=True)
class Broker:
    """Brokers that are equal may share open connections. The URL, which holds the password, is never shown."""

    name: str
    url: str = field(repr=False)
    exchange: str
    topics: tuple[str, ...]
    confirm_seconds: float
    max_bytes: int
    ca_file: str

    @classmethod
    def of(cls, connection: Connection, *, is_posted: bool = False) -> Broker:
        """Raises ExecutionError: a person has to mend the connection first. Secrets are for the worker to fill in."""
        config = connection.config if is_posted else connection.settings()
        if problems := connection_problems(config):
            message = _("the connection %(name)s is not sound: %(problems)s")
            reason = message % {"name": connection.name, "problems": "; ".join(problems)}
            raise ExecutionError(reason, code="INVALID_CONNECTION")
        return cls(
            name=connection.name,
            url=config["url"],
            exchange=config.get("exchange", ""),
            topics=tuple(config.get("topics", ())),
            confirm_seconds=float(config.get("confirm_seconds", DEFAULT_CONFIRM_SECONDS)),
            max_bytes=config.get("max_bytes", conf.MAX_BODY_BYTES),
            ca_file=config.get("ca_file", ""),
        )

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def where(self) -> str:
        """Host and port, for people."""
        parts = self.parts
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{host}:{parts.port or DEFAULT_PORTS[parts.scheme]}" if host else parts.scheme

    @property
    def shown_url(self) -> str:
        """The URL without user and password."""
        parts = self.parts
        return f"{parts.scheme}://{self.where}{parts.path}"

    def refusal(self, *, topic: str, exchange: str | None) -> str:
        """Why this may not be published there, as a sentence; empty when it may."""
        if exchange and self.parts.scheme not in WITH_EXCHANGES:
            return _("the connection %(name)s leads to a broker without exchanges") % {"name": self.name}
        if not self.topics:
            return ""
        if not any(fnmatch.fnmatchcase(topic, pattern) for pattern in self.topics):
            message = _("the topic %(topic)s is not on the list of topics of the connection %(name)s")
            return message % {"topic": topic, "name": self.name}
        if exchange is not None and exchange != self.exchange:
            # Another exchange would route an allowed topic to queues that nobody has allowed.
            message = _("the connection %(name)s has a list of topics, and so an exchange of its own")
            return message % {"name": self.name}
        return ""

    def without_secrets(self, text: str) -> str:
        """A broker or a library may repeat what it was given."""
        parts = self.parts
        for given in (parts.password, parts.username):
            for form in {given, unquote(given or ""), quote(unquote(given or ""), safe="")} - {"", None}:
                text = text.replace(str(form), MASKED)
        return text


def connection_problems(config: Mapping[str, Any]) -> list[str]:
    """One sentence per problem."""
    problems = unknown_keys(config, known=KEYS)
    url = config.get("url")
    problem = _url_problem(url)
    problems += [problem] if problem else _option_problems(config, scheme=urlsplit(str(url)).scheme)
    if not _are_patterns(config.get("topics", [])):
        problems.append(_("topics must be a list of patterns, like payment.*"))
    if not _is_between(config.get("confirm_seconds", 1), LEAST_CONFIRM_SECONDS, MOST_CONFIRM_SECONDS):
        message = _("confirm_seconds must be a number from %(least)s to %(most)s")
        problems.append(message % {"least": LEAST_CONFIRM_SECONDS, "most": MOST_CONFIRM_SECONDS})
    most = config.get("max_bytes", 1)
    if not isinstance(most, int) or not _is_between(most, 1, MOST_BYTES):
        problems.append(_("max_bytes must be a whole number from 1 to %(most)d") % {"most": MOST_BYTES})
    cap = config.get("cap", 1)
    if not isinstance(cap, int) or not _is_between(cap, 1, MOST_CAP):
        problems.append(_("cap must be a whole number from 1 to %(most)d") % {"most": MOST_CAP})
    return problems


def name_problem(key: str, name: object) -> str:
    """Of a topic or an exchange."""
    if not isinstance(name, str):
        return _("%(key)s must be a string") % {"key": key}
    if CONTROL.search(name) or len(name.encode(errors="replace")) > LONGEST_NAME_BYTES:
        message = _("%(key)s must have at most %(longest)d bytes and no control characters")
        return message % {"key": key, "longest": LONGEST_NAME_BYTES}
    return ""


def _option_problems(config: Mapping[str, Any], *, scheme: str) -> list[str]:
    """Of what depends on the sort of broker."""
    problems = []
    exchange = config.get("exchange", "")
    if problem := name_problem("exchange", exchange):
        problems.append(problem)
    elif exchange and scheme not in WITH_EXCHANGES:
        problems.append(_("exchange is for amqp:// and amqps:// only"))
    ca_file = config.get("ca_file", "")
    if not isinstance(ca_file, str) or (ca_file and scheme not in WITH_TLS):
        problems.append(_("ca_file must be the path of a file, and is for amqps:// and rediss:// only"))
    return problems


def _url_problem(url: object) -> str:
    """Never shows the URL: it may hold a password."""
    if not isinstance(url, str) or not url:
        return _("url is required, like amqp://user:password@broker:5672/vhost")
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:
        return _("url is not a valid URL")
    if parts.scheme not in DEFAULT_PORTS:
        schemes = ", ".join(f"{scheme}://" for scheme in DEFAULT_PORTS if scheme != "memory")
        return _("url must begin with one of %(schemes)s") % {"schemes": schemes}
    if parts.scheme == "memory":
        in_production = settings.PROFILE == "production"
        return _("memory:// is for tests and development only") if in_production else ""
    return _address_problem(url, parts=parts)


def _address_problem(url: str, *, parts: SplitResult) -> str:
    if CONTROL.search(url) or _BLANK.search(url) or not _is_host(parts.hostname or ""):
        return _("url is not a valid URL")
    if parts.query or parts.fragment:
        return _("url must not have a query; confirm_seconds and ca_file are keys of their own")
    if parts.scheme.startswith("redis") and not re.fullmatch(r"(/\d{0,4})?", parts.path):
        return _("the path of a redis URL is the number of a database, like redis://broker:6379/0")
    return ""


def _is_host(name: str) -> bool:
    if ":" not in name:
        return bool(_HOST.fullmatch(name))
    try:
        IPv6Address(name)
    except AddressValueError:
        return False
    return True


def _are_patterns(topics: object) -> bool:
    return isinstance(topics, list | tuple) and all(isinstance(each, str) and each for each in topics)


def _is_between(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
