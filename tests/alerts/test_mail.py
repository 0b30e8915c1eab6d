"""E-mail through a real mail server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_string
from email.header import decode_header, make_header
from typing import Any

import pytest

from dist_task.alerts.models import Channel
from dist_task.engine.alerts import verbs

from .conftest import deliver, look, make_due, rule
from .receiver import MailServer

pytestmark = pytest.mark.django_db


@pytest.fixture
def mail(settings: Any) -> Iterator[MailServer]:
    server = MailServer()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    settings.DEFAULT_FROM_EMAIL = "tasks@example.com"
    yield server
    server.close()


def by_mail(**values: Any) -> Channel:
    return Channel.objects.create(
        **{"name": "mail", "kind": "email", "recipients": "ann@example.com\nbob@example.com", **values}
    )


def test_an_alert_goes_to_all_recipients(mail: MailServer) -> None:
    rule(by_mail(), name="No\nworker\r\nBcc: eve@example.com", kind="nothing_runs", severity="critical")
    look()

    deliver()

    ((recipients, text),) = mail.got
    letter = message_from_string(text)
    subject = str(make_header(decode_header(letter["Subject"])))
    assert recipients == ["ann@example.com", "bob@example.com"]
    assert subject == "[critical] No worker Bcc: eve\uff20example.com"
    assert letter["Bcc"] is None
    assert letter["From"] == "tasks@example.com"
    assert letter["Message-ID"].endswith("@dist-task>")


def test_what_the_mail_server_refuses_is_tried_again(mail: MailServer) -> None:
    mail.refuse.append("451 come back later")
    delivery = verbs.send_test(by_mail().pk, actor="ada")

    deliver()
    delivery.refresh_from_db()
    assert delivery.status == "retrying"
    assert "come back later" in delivery.last_error
    assert mail.got == []

    make_due()
    deliver()
    delivery.refresh_from_db()
    assert delivery.status == "delivered"
    assert len(mail.got) == 1


def test_a_mail_server_that_is_not_there_is_an_error_like_any_other(settings: Any, mail: MailServer) -> None:
    mail.close()
    delivery = verbs.send_test(by_mail().pk, actor="ada")

    deliver()

    delivery.refresh_from_db()
    assert (delivery.status, delivery.last_error.split(":")[0]) == ("retrying", "ConnectionRefusedError")


def test_a_deployment_without_a_mail_server_says_so(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    delivery = verbs.send_test(by_mail().pk, actor="ada")

    deliver()

    delivery.refresh_from_db()
    assert "EMAIL_URL" in delivery.last_error
