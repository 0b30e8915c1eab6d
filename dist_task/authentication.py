"""Who is asking: a token (hashed at rest, expiring), or a session of the console with its CSRF token."""

from __future__ import annotations

import re
from typing import Any

from django.utils.translation import gettext
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from dist_task.engine.four_eyes.rule import ANONYMOUS

_TOKEN = re.compile(rb"[0-9A-Za-z]{16,160}")


class BearerToken(TokenAuthentication):
    """`Authorization: Bearer <token>`. What cannot be a token never reaches the database."""

    def authenticate_credentials(self, token: bytes) -> Any:
        if not _TOKEN.fullmatch(token):
            raise AuthenticationFailed(gettext("Invalid token."))
        return super().authenticate_credentials(token)


class BearerTokenScheme(OpenApiAuthenticationExtension):
    target_class = BearerToken
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


def actor(request: Request) -> str:
    """The name under which a verb is recorded."""
    return request.user.get_username() or ANONYMOUS
