"""`prune` removes old deliveries that have ended."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from dist_task.alerts.models import Delivery, DeliveryLog
from dist_task.engine.alerts import verbs

from .conftest import deliver, webhook
from .receiver import Receiver

pytestmark = pytest.mark.django_db


def prune(*words: str) -> str:
    out = StringIO()
    call_command("prune", "--older-than", "30d", *words, stdout=out)
    return out.getvalue()


def test_old_deliveries_go_with_their_log_and_others_stay(receiver: Receiver) -> None:
    channel = webhook(receiver)
    old, new = (verbs.send_test(channel.pk, actor="ada") for _each in range(2))
    deliver()
    waiting = verbs.send_test(channel.pk, actor="ada")
    Delivery.objects.filter(pk__in=(old.pk, waiting.pk)).update(created_at=timezone.now() - timedelta(days=31))

    assert "1 delivery would be removed" in prune("--dry-run")
    assert Delivery.objects.count() == 3
    assert "1 delivery removed" in prune()

    assert set(Delivery.objects.values_list("pk", flat=True)) == {new.pk, waiting.pk}
    assert set(DeliveryLog.objects.values_list("delivery_id", flat=True)) == {new.pk, waiting.pk}


def test_its_limit_counts(receiver: Receiver) -> None:
    channel = webhook(receiver)
    for _each in range(3):
        verbs.send_test(channel.pk, actor="ada")
    deliver()
    Delivery.objects.update(created_at=timezone.now() - timedelta(days=31))

    assert "2 deliveries removed (of alerts and webhooks); there may be more" in prune("--limit", "2")
    assert Delivery.objects.count() == 1
