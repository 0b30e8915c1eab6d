"""TLS as a connection wants it: its own authorities, a client's certificate."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.utils.translation import gettext as _

KEYS = frozenset({"ca", "verify", "client_cert", "client_key"})
_PEM = "-----BEGIN "


def tls_problems(tls: object, *, base_url: object) -> list[str]:
    if tls is None:
        return []
    if not isinstance(tls, dict) or not KEYS.issuperset(tls):
        return [_("tls must be an object with %(keys)s") % {"keys": ", ".join(sorted(KEYS))}]
    problems = []
    if not isinstance(base_url, str) or not base_url.startswith("https://"):
        problems.append(_("tls is for a base_url that begins with https://"))
    if not isinstance(tls.get("verify", True), bool):
        problems.append(_("tls.verify must be true or false"))
    for key in ("ca", "client_cert", "client_key"):
        if not isinstance(tls.get(key, ""), str):
            problems.append(_("tls.%(key)s must be PEM text, or the path of a file") % {"key": key})
    if "client_key" in tls and "client_cert" not in tls:
        problems.append(_("tls.client_key needs tls.client_cert"))
    return problems


def tls_context_of(tls: Mapping[str, Any]) -> ssl.SSLContext:
    """Reads files, and takes tens of milliseconds. Raises OSError or ValueError for what is no certificate or key."""
    ca = tls.get("ca", "")
    is_text = ca.lstrip().startswith(_PEM)
    context = ssl.create_default_context(cadata=ca if is_text else None, cafile=None if is_text or not ca else ca)
    context.set_alpn_protocols(["http/1.1"])
    if not tls.get("verify", True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate := tls.get("client_cert", ""):
        with _as_file(certificate) as cert_path, _as_file(tls.get("client_key", "")) as key_path:
            context.load_cert_chain(cert_path, key_path or None, password=_no_password)
    return context


def _no_password() -> str:
    """OpenSSL would ask on the terminal."""
    raise ValueError("the key is encrypted")


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """Python takes certificates from files only. One with a key in it has no name, or is gone at once."""
    if not text.lstrip().startswith(_PEM):
        yield text
    elif hasattr(os, "memfd_create"):
        fd = os.memfd_create("tls")
        try:
            os.write(fd, text.encode())
            yield f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)
    else:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(text)
            file.flush()
            yield file.name
