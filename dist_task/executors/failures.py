"""What can go wrong with a call, each as the ExecutionError that says whether the work may have been done."""

from __future__ import annotations

import os

from django.utils.translation import gettext as _

from dist_task.errors import ExecutionError


def invalid_url(url: str) -> ExecutionError:
    return ExecutionError(_("the URL is not valid: %(url)s") % {"url": url}, code="INVALID_URL", permanent=True)


def invalid_header(name: str) -> ExecutionError:
    message = _("the value of the header %(name)s has control characters") % {"name": ascii(name)[:80]}
    return ExecutionError(message, code="INVALID_HEADER", permanent=True)


def not_connected(where: str, reason: OSError | str, *, code: str = "CONNECTION_REFUSED") -> ExecutionError:
    """Nothing was sent: the work was not done."""
    text = reason if isinstance(reason, str) else _reason(reason)
    return ExecutionError(_("no connection to %(host)s: %(reason)s") % {"host": where, "reason": text}, code=code)


def unusable_tls(reason: object) -> ExecutionError:
    """Nothing was sent: certificates or keys of the connection cannot be used."""
    message = _("the certificates of the connection cannot be used: %(reason)s") % {"reason": reason}
    return ExecutionError(message, code="TLS_ERROR")


def not_connected_in_time() -> ExecutionError:
    return ExecutionError(_("no connection within the time allowed"), code="CONNECT_TIMEOUT")


def no_answer_in_time(seconds: float) -> ExecutionError:
    message = _("no answer within %(seconds)g seconds") % {"seconds": seconds}
    return ExecutionError(message, code="TIMEOUT", unknown=True)


def lost(reason: object) -> ExecutionError:
    message = _("the connection was lost before an answer came: %(error)s") % {"error": reason}
    return ExecutionError(message, code="CONNECTION_LOST", unknown=True)


def unreadable(reason: object) -> ExecutionError:
    message = _("the answer could not be read: %(error)s") % {"error": reason}
    return ExecutionError(message, code="BAD_RESPONSE", unknown=True)


class TooLarge(ExecutionError):
    """Of an answer: its head came, its body is not kept."""


def too_large(limit: int) -> TooLarge:
    """The work was done, but its answer is unusable, and would be again."""
    message = _("the answer is larger than %(limit)d bytes") % {"limit": limit}
    return TooLarge(message, code="RESPONSE_TOO_LARGE", permanent=True, unknown=True)


def _reason(error: OSError) -> str:
    """The system's words without a loop's own additions, so that equal failures look alike."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__
