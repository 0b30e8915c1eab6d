"""What can come instead of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """Every error of the client."""


class ApiError(ClientError):
    """The service's own refusal. `code` is the envelope's and the HTTP status, `data` what it says beside the message.

    `errors`: what is wrong with each field of a request, as `{"field", "message"}`.
    """

    def __init__(self, message: str, *, code: int, data: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.message, self.code, self.data = message, code, data

    @property
    def errors(self) -> list[dict[str, str]]:
        return list(self.data.get("errors", ()))

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class NotFound(ApiError):
    """404: nothing has this id."""


class Conflict(ApiError):
    """409: the instance_id is taken by a transaction of another flow, or with other params."""


class Unreachable(ClientError):
    """No answer came. `was_sent`: the request may have been received and carried out."""

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class UnexpectedAnswer(ClientError):
    """An answer that is not the service's: of a proxy in front of it, or of something else at this address."""

    def __init__(self, message: str, *, http_status: int) -> None:
        super().__init__(message)
        self.http_status = http_status


def api_error(code: int, *, message: str, data: Mapping[str, Any] | None) -> ApiError:
    kind = {404: NotFound, 409: Conflict}.get(code, ApiError)
    return kind(message, code=code, data=data or {})
