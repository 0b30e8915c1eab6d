"""What operators find in their console: transactions of every kind, run by a real worker against a real service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from dist_task.alerts.models import AlertRule, Channel, Delivery, Subscription
from dist_task.batches.models import Batch
from dist_task.engine.four_eyes.rule import make_request
from dist_task.engine.operate import compensate_transaction, handle_exception, pause_transaction, retry_transaction
from dist_task.engine.operate.transactions import standing
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.four_eyes.words import Act
from dist_task.models import ExecutionLog, TaskRun
from dist_task.saved_views.models import SavedView
from exceptions_app.models import ExceptionRecord
from flows.models import Connection, Flow, TaskDefinition
from flows.register import register
from flows.secret_rows import store
from tests.batches.conftest import make as make_batch
from tests.engine.conftest import begin, finished, stored
from tests.engine.service import Answer, Service
from tests.engine.worker import wait_for
from transactions.models import Transaction

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202egnp.exe"
WAIT = {"id": "pause", "name": "Until tomorrow", "type": "wait", "config": {"seconds": 86_400}}
MEGABYTE = 1_000_000
TAKES = [
    {"name": "sku", "type": "string", "description": "What lies on the shelf"},
    {"name": "count", "type": "int", "default": 1},
    {"name": "express", "type": "bool"},
]


@dataclass(frozen=True)
class Stage:
    """Instance ids by what they show; the flows."""

    done: Transaction
    failed: Transaction
    retrying: Transaction
    approval: Transaction
    undone: Transaction
    large: Transaction
    hostile: Transaction
    items: Transaction
    nested: Transaction
    paused: Transaction
    orders: Flow
    exception: ExceptionRecord
    delivery: Delivery
    batch: Batch
    request: ApprovalRequest
    own_request: ApprovalRequest


def build(service: Service) -> Stage:
    """Needs a worker that runs."""
    TaskDefinition.objects.get_or_create(
        name="reserve_stock",
        defaults={
            "type": "http",
            "config": {"method": "POST"},
            "runbook_url": "https://wiki.example/stock",
            "inputs": TAKES,
        },
    )
    orders = _orders(service)
    done = [finished(begin(orders, params=_params(n), instance_id=f"order-2026-{n:04}")) for n in range(1, 7)][0]
    failed = _failed(service, flow=orders)
    retrying = _retrying(service)
    approval = _approval()
    undone = _undone(service)
    large = finished(begin(large_flow(), instance_id="settlement-2026-11-26"))
    hostile = _hostile(service)
    items = _items(service)
    nested = _nested(orders)
    paused = _paused()
    _outside()
    _views()
    _alerts()
    record = ExceptionRecord.objects.filter(transaction=failed, status="open").latest("id")
    shown = (done, failed, retrying, approval, undone, large, hostile, items, nested, paused, orders, record)
    requests = {"request": _request(done, actor="bo"), "own_request": _request(nested, actor="root")}
    return Stage(*shown, delivery=_delivery(), batch=_batch(), **requests)


def _request(txn: Transaction, *, actor: str) -> ApprovalRequest:
    """As the rule makes it where it is on."""
    about = {"transaction": txn, "arguments": standing(txn)}
    return make_request(act=Act.COMPENSATE, actor=actor, remark="The customer sent it back.", **about)


def _params(number: int) -> dict[str, Any]:
    return {"order_id": f"2026-{number:04}", "user_id": f"u{number}", "amount": 100 + number, "sku": "tea"}


def _call(service: Service, path: str, **more: Any) -> dict[str, Any]:
    return {"type": "http", "config": {"url": service.url(path)}, **more}


def _orders(service: Service) -> Flow:
    for version in (1, 2):
        undo = {"compensate": {"config": {"url": service.url("/undo")}}}
        tasks: list[dict[str, Any]] = [
            {"id": "order", "name": "Take the order", **_call(service, "/orders")},
            {"id": "pay", "name": "Deduct the amount", "depends_on": ["order"], **_call(service, "/pay"), **undo},
            {"id": "stock", "task_name": "reserve_stock", "name": "Reserve the goods", "depends_on": ["order"],
             **_call(service, "/stock"), **undo},
            {"id": "ship", "name": "发货 Hand over the parcel", "depends_on": ["pay", "stock"],
             **_call(service, "/ship")},
        ]  # fmt: skip
        if version == 2:
            mail = {"id": "mail", "name": "Tell the customer", "depends_on": ["pay"], "optional": True}
            tasks.append({**mail, **_call(service, "/mail")})
        flow = register(
            name="order_flow", flow_type="order", definition={"tasks": tasks}, create_user="ana", description="An order"
        )
    return flow


def _failed(service: Service, *, flow: Flow) -> Transaction:
    """Several with the same error, one of which somebody solved with a remark."""
    sold_out = Answer(409, {"code": "OUT_OF_STOCK", "message": "tea is sold out in warehouse 7"})
    found = []
    for number in range(11, 16):
        service.answer("/stock", sold_out)
        found.append(finished(begin(flow, params=_params(number), instance_id=f"order-2026-{number:04}")))
    first, second = (ExceptionRecord.objects.get(transaction=txn, status="open") for txn in found[:2])
    handle_exception(first.pk, actor="ana", remark="Ordered more tea; sent by hand.", resolution="fixed_externally")
    handle_exception(second.pk, actor="bo", remark="Customer took coffee instead.", resolution="acknowledged")
    service.answer("/stock", sold_out)
    retry_transaction(found[-1].instance_id, actor="ana", remark="warehouse says that it is back")
    wait_for(
        lambda: TaskRun.objects.filter(transaction=found[-1], task_id="stock", attempt=2, status="failed").exists()
    )
    return finished(found[-1].instance_id)


def _retrying(service: Service) -> Transaction:
    retry = {"strategy": "auto", "max_attempts": 5, "interval": 0.2, "backoff": "exponential", "multiplier": 40}
    task = {"id": "charge", "name": "Charge the card", **_call(service, "/charge", retry=retry)}
    flow = register(name="charge_flow", flow_type="payment", definition={"tasks": [task]}, create_user="ana")
    service.answer("/charge", *[Answer(503, {"message": "payments are being restarted"})] * 6)
    instance_id = begin(flow, params={"card": "4711"}, instance_id="charge-8812")
    wait_for(lambda: TaskRun.objects.filter(transaction__instance_id=instance_id, attempt=2, status="pending").exists())
    return stored(instance_id)


def _items(service: Service) -> Transaction:
    """One of seven is refused, and so is the task."""
    undo = {"compensate": {"config": {"url": service.url("/undo")}}}
    task = {"id": "parcels", "name": "Send each parcel", "foreach": "params.parcels", "max_parallel": 3}
    tasks = [{**task, **_call(service, "/parcels"), **undo}, {"id": "bill", "type": "noop", "depends_on": ["parcels"]}]
    flow = register(name="parcel_flow", flow_type="shipping", definition={"tasks": tasks}, create_user="ana")
    service.answer("/parcels", Answer(400, {"code": "NO_ADDRESS", "message": "the address is incomplete"}))
    parcels = [{"parcel": number, "to": f"Lane {number}"} for number in range(1, 8)]
    return finished(begin(flow, params={"parcels": parcels}, instance_id="parcels-2026-77"))


def _nested(orders: Flow) -> Transaction:
    """An order is part of a contract, as a transaction of its own."""
    task = {"id": "order", "name": "First order", "type": "subflow", "config": {"flow": orders.name}}
    flow = register(name="contract_flow", flow_type="contract", definition={"tasks": [task]}, create_user="ana")
    return finished(begin(flow, params=_params(99), instance_id="contract-31"))


def _paused() -> Transaction:
    flow = register(name="later_flow", flow_type="x", definition={"tasks": [WAIT]}, create_user="ana")
    instance_id = begin(flow, instance_id="later-1")
    wait_for(lambda: TaskRun.objects.filter(transaction__instance_id=instance_id, status="waiting").exists())
    pause_transaction(instance_id, actor="ana", remark="the bank is closed")
    wait_for(lambda: stored(instance_id).owner is None)
    return stored(instance_id)


def _outside() -> None:
    """Where tasks may go, and with what."""
    Connection.objects.create(
        name="bank", kind="http", config={"base_url": "https://bank.example"}, description="A bank"
    )
    store("BANK_TOKEN", value="swordfish", actor="ana")


def _views() -> None:
    """One that somebody shares, and one of whoever looks."""
    ana = User.objects.create_user("ana", password=None)
    mine = User.objects.filter(is_superuser=True).first() or ana
    views = {("transactions", "orders of today"): (ana, "flow_name=order_flow"),
             ("transactions", HOSTILE[:50]): (mine, "status=failed"),
             ("exceptions", "sold out"): (mine, "error_code=OUT_OF_STOCK&status=all")}  # fmt: skip
    for (page, name), (owner, query) in views.items():
        SavedView.objects.create(page=page, name=name, owner=owner, query=query, is_shared=owner == ana)


def _alerts() -> None:
    """As if they had been judged; nothing is delivered of them."""
    since = timezone.now() - timedelta(minutes=17)
    firing = {"kind": "exceptions", "state": "firing", "value": 5, "since": since}
    AlertRule.objects.create(
        name="orders need a person", severity="critical", threshold=3, calm_seconds=2_000_000, **firing
    )
    AlertRule.objects.create(name=HOSTILE, severity="warning", calm_seconds=2_000_000, **firing)


def _delivery() -> Delivery:
    """One that was given up: its channel is none that the worker may call."""
    channel = Channel.objects.create(name=HOSTILE, kind="webhook", url="https://hooks.example/x")
    AlertRule.objects.create(name="Many failures", kind="exceptions", threshold=1_000).channels.add(channel)
    Subscription.objects.create(channel=channel, flow_name="no_flow")
    delivery = Delivery.objects.create(key="k", channel=channel, event="test", subject=HOSTILE, payload={"a": HOSTILE})
    wait_for(lambda: Delivery.objects.get(pk=delivery.pk).status != "pending")
    return Delivery.objects.get(pk=delivery.pk)


def _batch() -> Batch:
    """One that goes slowly; its first item is refused."""
    batch = make_batch(
        "retry", target="transactions", rows=Transaction.objects.all(), remark=HOSTILE, actor="ana", rate=0.01
    )
    wait_for(lambda: Batch.objects.get(pk=batch.pk).refused)
    return Batch.objects.get(pk=batch.pk)


def _approval() -> Transaction:
    tasks: list[dict[str, Any]] = [
        {"id": "check", "name": "Check the limits", "type": "noop"},
        {"id": "sign", "name": "Second pair of eyes", "type": "approval", "depends_on": ["check"],
         "config": {"role": "supervisor", "message": "A transfer of 40,000"}},
        {"id": "transfer", "name": "Transfer", "type": "noop", "depends_on": ["sign"]},
    ]  # fmt: skip
    flow = register(name="transfer_flow", flow_type="bank", definition={"tasks": tasks}, create_user="bo")
    instance_id = begin(flow, params={"amount": 40_000}, instance_id="transfer-40000")
    wait_for(lambda: TaskRun.objects.filter(transaction__instance_id=instance_id, status="waiting").exists())
    wait_for(lambda: stored(instance_id).owner is None)
    return stored(instance_id)


def _undone(service: Service) -> Transaction:
    orders = Flow.objects.filter(name="order_flow").latest("version")
    service.answer("/ship", Answer(422, {"code": "NO_ADDRESS", "message": "there is no such street"}))
    instance_id = begin(orders, params=_params(40), instance_id="order-2026-0040")
    finished(instance_id)
    compensate_transaction(instance_id, actor="cleo", remark="the customer gave up")
    wait_for(lambda: stored(instance_id).compensation == "done")
    return stored(instance_id)


def large_flow(tasks: int = 60, *, across: int = 6) -> Flow:
    """Layers of a few tasks each, with edges between neighbours and some that pass layers."""
    found: list[dict[str, Any]] = []
    for number in range(tasks):
        layer, place = divmod(number, across)
        needs = {(layer - 1) * across + place, (layer - 1) * across + (place * 2 + layer) % across} if layer else set()
        if layer > 2 and place == 3:
            needs.add((layer - 3) * across + 1)
        task_id = f"step_{number:02}"
        found.append({"id": task_id, "name": f"Step {number} of it", "type": "noop",
                      "depends_on": [f"step_{need:02}" for need in sorted(needs)]})  # fmt: skip
    return register(name=f"large_{tasks}", flow_type="batch", definition={"tasks": found}, create_user="ana")


def _hostile(service: Service) -> Transaction:
    """As if a service had answered with it, a client had sent it, and an operator had written it."""
    task = {"id": "evil", "name": HOSTILE[:100], **_call(service, "/evil")}
    flow = register(name="hostile_flow", flow_type="x", definition={"tasks": [task]}, create_user="x")
    service.answer("/evil", Answer(422, {"code": "BAD<b>", "message": HOSTILE}))
    txn = finished(begin(flow, params={HOSTILE: [HOSTILE]}, instance_id="evil-1"))
    evil = {HOSTILE: [HOSTILE * 50_000]}
    long_text = HOSTILE + "x" * MEGABYTE
    TaskRun.objects.filter(transaction=txn).update(input=evil, output=evil, error_message=long_text)
    ExecutionLog.objects.filter(transaction=txn).update(
        message=long_text, request=evil, response=evil, actor=HOSTILE[:100], error_code=HOSTILE[:100]
    )
    ExceptionRecord.objects.filter(transaction=txn).update(
        error_message=long_text, task_name=HOSTILE[:100], remark=HOSTILE
    )
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flows_flow SET description = %s WHERE id = %s", [HOSTILE, flow.pk])
    return txn


Builder = Callable[[], Stage]
