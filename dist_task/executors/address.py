"""Where a call may go: URLs, allowed hosts, refused addresses. Pure."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from urllib.parse import SplitResult, quote, urlsplit

from django.utils.translation import gettext as _

from dist_task.conf import conf

DEFAULT_PORTS = {"http": 80, "https": 443}
CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f]")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_UNSURE = re.compile("[\u00df\u03c2\u200c\u200d]")
"""Letters that the older and the newer standard of international names take to different hosts: never guessed."""
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_IN_PATH = "%/:@!$&'()*+,;=~"
_IN_QUERY = _IN_PATH + "?"
_METADATA = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
"""Where clouds keep credentials of the machine, beside the link-local 169.254.169.254."""


class ForbiddenAddress(OSError):
    """The name resolved to an address that this deployment does not call."""


@dataclass(frozen=True)
class Target:
    """A URL, read once. `host` is what is resolved or connected to: ASCII, an IPv6 literal without its brackets."""

    scheme: str
    host: str
    port: int
    netloc: str
    path: str

    @cached_property
    def key(self) -> tuple[str, str, int]:
        """Requests with the same one may share connections."""
        return self.scheme, self.host, self.port

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def read_target(url: str) -> Target:
    """Raises ValueError for what cannot be called."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.username is not None or CONTROL.search(url):
        raise ValueError(url)
    port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    return Target(parts.scheme, _host(parts.hostname), port, parts.netloc, _request_target(parts))


target_of = lru_cache(maxsize=1_000)(read_target)
"""The same, remembered: never for a URL with a secret in it."""


def _host(name: str) -> str:
    """An address, or a name in ASCII; ValueError otherwise."""
    if ":" in name:
        return str(ipaddress.IPv6Address(name))
    if _UNSURE.search(name):
        raise ValueError(name)
    host = name.encode("idna").decode("ascii")
    if not _NAME.fullmatch(host):
        raise ValueError(name)
    return host


def _request_target(parts: SplitResult) -> str:
    """Path and query with everything quoted that may not stand there; what is quoted already stays so."""
    path = quote(_STRAY_PERCENT.sub("%25", _without_dots(parts.path)), safe=_IN_PATH)
    query = quote(_STRAY_PERCENT.sub("%25", parts.query), safe=_IN_QUERY)
    return f"{path}?{query}" if query else path


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4: `/a/../b` is `/b`."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def host_problem(url: str) -> str:
    """Why this URL is not called by this deployment, as a sentence; empty when it may be."""
    return netloc_problem(urlsplit(url).netloc)


def netloc_problem(netloc: str) -> str:
    if _is_allowed(netloc, conf.ALLOWED_HOSTS_OUT):
        return ""
    message = _("the host %(host)s is not on the list of allowed hosts (ALLOWED_HOSTS_OUT)")
    return message % {"host": urlsplit(f"//{netloc}").hostname}


@lru_cache(maxsize=1_000)
def _is_allowed(netloc: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern matches the host, or host:port."""
    parts = urlsplit(f"//{netloc}")
    host = (parts.hostname or "").lower()
    names = {host, f"{host}:{parts.port}" if parts.port else host}
    return any(fnmatch.fnmatchcase(name, pattern.lower()) for name in names for pattern in patterns)


def refuse_address(address: str, *, allows_private: bool = False) -> None:
    """Raises ForbiddenAddress: for link-local and metadata addresses always, for private and loopback ones unless
    the settings or this call (`allows_private`) allow them.
    """
    found = ipaddress.ip_address(address.split("%")[0])
    ip = getattr(found, "ipv4_mapped", None) or found
    is_never_called = ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA
    if is_never_called or (ip.is_reserved and not ip.is_loopback):
        raise ForbiddenAddress(f"{ip} is an address that is never called")
    if not ip.is_global and not allows_private and not conf.ALLOW_PRIVATE_TARGETS:
        raise ForbiddenAddress(f"{ip} is a private address; this deployment calls public ones only")
