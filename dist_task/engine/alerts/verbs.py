"""What people ask for: a test of a channel, and that something is delivered again. For API and console alike."""

from __future__ import annotations

from uuid import uuid4

from django.db import transaction
from django.utils.translation import gettext as _

from dist_task.alerts.models import Channel, Delivery, DeliveryLog
from dist_task.alerts.words import DeliveryEvent
from dist_task.conf import conf
from dist_task.engine.remarks import checked_remark
from dist_task.engine.store import deliveries
from dist_task.errors import IllegalMove, NotFound


@transaction.atomic
def send_test(channel_id: int, *, actor: str, remark: str = "") -> Delivery:
    """A delivery like any other, due now."""
    channel = _active(channel_id)
    delivery = Delivery.objects.create(
        key=f"test:{uuid4()}",
        channel=channel,
        event=DeliveryEvent.TEST,
        subject=channel.name,
        payload={"channel": channel.name, "sent_by": actor, "url": conf.PUBLIC_URL},
    )
    deliveries.write_log(delivery.pk, event=DeliveryLog.Event.TESTED, actor=actor, message=checked_remark(remark))
    delivery.refresh_from_db()
    return delivery


@transaction.atomic
def redeliver(delivery_id: int, *, actor: str, remark: str = "") -> Delivery:
    """The same message under the same id, due now, with a fresh budget of attempts."""
    delivery = Delivery.objects.select_for_update(no_key=True, of=("self",)).filter(pk=delivery_id).first()
    if delivery is None:
        raise NotFound(_("delivery %(id)s does not exist") % {"id": delivery_id})
    _active(delivery.channel_id)
    if not deliveries.renew(delivery_id=delivery_id):
        raise IllegalMove(_("delivery %(id)s is due already") % {"id": delivery_id})
    deliveries.write_log(delivery_id, event=DeliveryLog.Event.REDELIVERED, actor=actor, message=checked_remark(remark))
    delivery.refresh_from_db()
    return delivery


def _active(channel_id: int) -> Channel:
    channel = Channel.objects.filter(pk=channel_id).first()
    if channel is None:
        raise NotFound(_("channel %(id)s does not exist") % {"id": channel_id})
    if not channel.is_active:
        raise IllegalMove(_("the channel %(name)s is switched off") % {"name": channel.name})
    return channel
