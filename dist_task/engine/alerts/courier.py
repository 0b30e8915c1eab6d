"""One attempt of one delivery: what is sent, where, and what the answer means for it."""

from __future__ import annotations

import asyncio
import random

import orjson
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.utils.translation import gettext as _

from dist_task.alerts.addresses import filled, recipients_of
from dist_task.alerts.formats import BadSecret, Message, post_of, refusal
from dist_task.alerts.schedule import delay_seconds
from dist_task.alerts.texts import notice
from dist_task.alerts.words import ChannelKind
from dist_task.engine.store.deliveries import Ended, Taken
from dist_task.errors import ExecutionError
from dist_task.executors.connection import Answer
from dist_task.executors.outbound import OUTBOUND
from dist_task.executors.secrets import SECRETS
from dist_task.payload import mask

TIMEOUT_SECONDS = 15.0
LONGEST_RESPONSE = 2_000
LONGEST_ERROR = 500
GONE = 410


async def attempt(taken: Taken) -> Ended:
    """Whatever goes wrong outside is the end of this attempt, and seen in the log of the delivery."""
    try:
        if taken.kind == ChannelKind.EMAIL:
            await asyncio.to_thread(_mail, taken)
            return Ended()
        return await _post(taken)
    except BadSecret as error:
        return _failed(taken, error=str(error))
    except ExecutionError as error:
        return _failed(taken, error=f"{error.code}: {error}", is_final=error.permanent)
    except (OSError, ValueError) as error:  # a mail server's refusals (SMTPException) are OSErrors
        return _failed(taken, error=f"{type(error).__name__}: {error}")


async def _post(taken: Taken) -> Ended:
    post = post_of(taken.kind, _message(taken))
    answer = await OUTBOUND.send(
        "POST",
        post.url,
        constant=tuple(post.headers.items()),
        varying={},
        body=post.body,
        timeout_seconds=TIMEOUT_SECONDS,
        is_secret=True,
    )
    return _judged(taken, answer=answer)


def _judged(taken: Taken, *, answer: Answer) -> Ended:
    text = _masked(answer.body.decode(errors="replace"))[:LONGEST_RESPONSE]
    if not (problem := refusal(taken.kind, status=answer.status, body=answer.body)):
        return Ended(response_status=answer.status, response=text)
    is_gone = answer.status == GONE
    ended = _failed(taken, error=problem, is_final=is_gone)
    why = _("the receiver answered 410: it wants no more") if is_gone else ""
    return Ended(ended.error, answer.status, text, ended.delay_seconds, channel_is_gone=why)


def _failed(taken: Taken, *, error: str, is_final: bool = False) -> Ended:
    delay = None if is_final else delay_seconds(attempt=taken.attempt, random=random.random())  # noqa: S311  # jitter
    return Ended(error=_masked(error)[:LONGEST_ERROR] or "?", delay_seconds=delay)


def _message(taken: Taken) -> Message:
    payload = orjson.loads(taken.payload)
    return Message(
        id=f"msg_{taken.message_id}",
        event=taken.event,
        timestamp=taken.timestamp,
        payload=payload,
        notice=notice(taken.event, payload, language=taken.language),
        url=filled(taken.url),
        secret=SECRETS.value(taken.secret) if taken.secret else "",
        now=int(taken.now),
    )


def _mail(taken: Taken) -> None:
    """In a thread. The mail server's own answers are errors; its addresses are the deployment's (EMAIL_URL)."""
    if not settings.EMAIL_HOST and settings.EMAIL_BACKEND.endswith("smtp.EmailBackend"):
        raise ExecutionError(_("this deployment has no mail server (EMAIL_URL)"), code="NO_MAIL_SERVER")
    told = notice(taken.event, orjson.loads(taken.payload), language=taken.language)
    with get_connection() as connection:
        EmailMessage(
            subject=told.title,
            body=told.text + "\n",
            to=recipients_of(taken.recipients),
            headers={"Message-ID": f"<{taken.message_id}@dist-task>", "Auto-Submitted": "auto-generated"},
            connection=connection,
        ).send()


def _masked(text: str) -> str:
    """Before any cut: what was filled in, and what looks like a credential. PostgreSQL keeps no NUL."""
    return str(mask(text)).replace("\0", "\ufffd")
