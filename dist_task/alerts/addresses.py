"""What a channel needs to reach somebody: one sentence per field that is wrong. Pure."""

from __future__ import annotations

from urllib.parse import quote

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _

from dist_task.executors.checks import url_problems
from dist_task.executors.literals import literal_secrets
from dist_task.executors.secrets import OPENING, SECRETS

from .words import CHATS, ChannelKind

SIGNING = frozenset({ChannelKind.WEBHOOK, ChannelKind.DINGTALK, ChannelKind.FEISHU})
MOST_RECIPIENTS = 50


def channel_problems(kind: str, *, url: str, recipients: str, secret: str) -> dict[str, str]:
    """By field. The host is judged again at each call, and so is the address that it has then."""
    found = {
        "url": _url_problem(kind, url),
        "recipients": _recipients_problem(kind, recipients),
        "secret": _secret_problem(kind, secret),
    }
    return {field: problem for field, problem in found.items() if problem}


def recipients_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def filled(url: str) -> str:
    """With its secrets, which stand behind the host and may be several segments. Raises ExecutionError (NO_SECRET)."""
    return SECRETS.fill_text(url, quoted=lambda value: quote(value, safe="/"))


def _url_problem(kind: str, url: str) -> str:
    if kind == ChannelKind.EMAIL:
        return _("an e-mail channel has no URL") if url else ""
    problems = url_problems(url) or literal_secrets({"address": url})
    if problems:
        return problems[0]
    if kind in CHATS and OPENING not in url:
        return _("who knows this URL may write to the chat: set its last part as a secret and write ${secrets.NAME}")
    return ""


def _recipients_problem(kind: str, recipients: str) -> str:
    found = recipients_of(recipients)
    if kind != ChannelKind.EMAIL:
        return _("only an e-mail channel has recipients") if found else ""
    if not 1 <= len(found) <= MOST_RECIPIENTS:
        return _("give 1 to %(most)d addresses, one a line") % {"most": MOST_RECIPIENTS}
    for address in found:
        try:
            validate_email(address)
        except ValidationError:
            return _("%(address)s is no e-mail address") % {"address": ascii(address)[:80]}
    return ""


def _secret_problem(kind: str, secret: str) -> str:
    if kind == ChannelKind.WEBHOOK and not secret:
        return _("webhooks are signed: name the secret that signs them")
    if secret and kind not in SIGNING:
        return _("messages of this type are not signed")
    return ""
