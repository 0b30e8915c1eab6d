"""What a registered connection changes about the way to its host."""

from __future__ import annotations

import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Its identity counts: what was connected to under one is not used under another.

    `tls`: None means the system's authorities. Whoever registered it has allowed its host, and with
    `allows_private` its private address; link-local and metadata addresses are refused all the same.
    """

    allows_private: bool
    tls: ssl.SSLContext | None
