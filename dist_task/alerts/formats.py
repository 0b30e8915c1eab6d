"""What each kind of channel is sent, and what its answer means. Pure.

Chats get types of message that interpret no markup (text, rich text of literal parts, plain_text), so that a name
cannot become a link, a mention or a picture; `texts.plain` has taken away what would be read as a mention all the same.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson
from django.utils.translation import gettext as _
from standardwebhooks import Webhook

from .texts import Notice
from .words import ChannelKind

PREFIX = "whsec_"  # noqa: S105  # what the standard begins every secret with
WECOM_BYTES = 2_000
USUAL = {"Content-Type": "application/json"}


class BadSecret(ValueError):
    """The secret is none of this kind of channel."""


@dataclass(frozen=True, slots=True)
class Message:
    """`secret` signs, and is empty where nothing does. `now`: whole seconds since 1970."""

    id: str
    event: str
    timestamp: str
    payload: Mapping[str, Any]
    notice: Notice
    url: str
    secret: str
    now: int


@dataclass(frozen=True, slots=True)
class Post:
    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: USUAL)


def post_of(kind: str, message: Message) -> Post:
    """Raises BadSecret."""
    return POSTS[kind](message)


def _webhook(message: Message) -> Post:
    """https://www.standardwebhooks.com: the body is the same on every attempt, the time and the signature are new."""
    body = orjson.dumps({"type": message.event, "timestamp": message.timestamp, "data": dict(message.payload)})
    refuse_unfit(message.secret)
    signature = Webhook(message.secret).sign(message.id, datetime.fromtimestamp(message.now, UTC), body.decode())
    headers = {"webhook-id": message.id, "webhook-timestamp": str(message.now), "webhook-signature": signature}
    return Post(message.url, body, {**USUAL, **headers})


def refuse_unfit(secret: str) -> None:
    """The library takes anything that base64 can be read from; the standard says 24 to 64 bytes. Raises BadSecret."""
    try:
        size = len(base64.b64decode(secret.removeprefix(PREFIX), validate=True))
    except ValueError:
        size = 0
    if not secret.startswith(PREFIX) or not 24 <= size <= 64:
        raise BadSecret(_("the secret that signs webhooks must be whsec_ and 24 to 64 bytes in base64"))


def _wecom(message: Message) -> Post:
    text = message.notice.text.encode()[:WECOM_BYTES].decode(errors="ignore")
    return Post(message.url, _json({"msgtype": "text", "text": {"content": text}}))


def _dingtalk(message: Message) -> Post:
    """The signature is of the time in milliseconds, and stands in the query."""
    url = message.url
    if message.secret:
        stamp = message.now * 1_000
        sign = _hmac(message.secret, f"{stamp}\n{message.secret}")
        url += f"{'&' if '?' in url else '?'}timestamp={stamp}&sign={quote(sign, safe='')}"
    body = {"msgtype": "text", "text": {"content": message.notice.text}, "at": {"isAtAll": False}}
    return Post(url, _json(body))


def _feishu(message: Message) -> Post:
    """Of rich text, since a plain one interprets `<at>`. What is signed is the key, and the message is empty."""
    notice = message.notice
    lines = [[{"tag": "text", "text": line}] for line in notice.lines]
    if notice.url:
        lines.append([{"tag": "a", "text": notice.url, "href": notice.url}])
    body: dict[str, Any] = {
        "msg_type": "post",
        "content": {"post": {"zh_cn": {"title": notice.title, "content": lines}}},
    }
    if message.secret:
        body |= {"timestamp": str(message.now), "sign": _hmac(f"{message.now}\n{message.secret}", "")}
    return Post(message.url, _json(body))


def _slack(message: Message) -> Post:
    """Escaped as Slack says, and `text` is what notifications show."""
    text = html.escape(message.notice.text, quote=False)
    block = {"type": "section", "text": {"type": "plain_text", "text": text, "emoji": False}}
    return Post(message.url, _json({"text": text, "mrkdwn": False, "blocks": [block]}))


POSTS: Mapping[str, Callable[[Message], Post]] = {
    ChannelKind.WEBHOOK: _webhook,
    ChannelKind.WECOM: _wecom,
    ChannelKind.DINGTALK: _dingtalk,
    ChannelKind.FEISHU: _feishu,
    ChannelKind.SLACK: _slack,
}
CODES: Mapping[str, tuple[str, str]] = {
    ChannelKind.WECOM: ("errcode", "errmsg"),
    ChannelKind.DINGTALK: ("errcode", "errmsg"),
    ChannelKind.FEISHU: ("code", "msg"),
}
"""Chats answer 200 to what they refuse: where the body has the code, and the words."""


def refusal(kind: str, *, status: int, body: bytes) -> str:
    """Why the message was not taken, as a sentence; empty when it was."""
    if not 200 <= status < 300:
        return _("the answer was HTTP %(status)d") % {"status": status}
    if kind not in CODES:
        return ""
    code_key, text_key = CODES[kind]
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or code_key not in answer:
        return _("the answer has no %(key)s") % {"key": code_key}
    if answer[code_key] in (0, "0"):
        return ""
    return f"{code_key} {answer[code_key]}: {answer.get(text_key, '')}"[:500]


def _hmac(key: str, text: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def _json(value: Any) -> bytes:
    return orjson.dumps(value)
