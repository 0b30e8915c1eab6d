"""Registers the flow, lets orders come in, and plays the operator a little, so that every state is seen."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from django.db import Error as DatabaseError
from django.db import connections

from dist_task.demo import orders
from dist_task.demo.service import HOST, ShopServer
from dist_task.engine.operate import cancel_transaction, handle_exception
from dist_task.engine.start import StartRequest, start_many
from dist_task.errors import DistTaskError
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from flows.register import register
from transactions.models import Transaction

logger = logging.getLogger("dist_task.demo")
ACTOR = "demo"
DEFAULT_PORT = 8091
MOST_OPEN_EXCEPTIONS = 12
REMARK = "demo: the customer was called"


def open_shop(port_file: Path) -> ShopServer:
    """On the port of the last time, so that the orders of the last time still reach it; else on another."""
    server = _listen(_remembered_port(port_file))
    port_file.parent.mkdir(parents=True, exist_ok=True)
    port_file.write_text(json.dumps({"port": server.port}))
    return server


def _remembered_port(port_file: Path) -> int:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return int(json.loads(port_file.read_text())["port"])
    return DEFAULT_PORT


def _listen(port: int) -> ShopServer:
    try:
        return ShopServer(port)
    except (OSError, OverflowError):
        return ShopServer(0)


def register_order_flow(*, port: int) -> Flow:
    """The same version again, unless the port has changed."""
    return register(
        name=orders.FLOW_NAME,
        flow_type="order",
        definition=orders.definition(service=f"{HOST}:{port}"),
        create_user=ACTOR,
        description="order -> pay -> stock -> (notify, ship), with failures on purpose",
    )


@dataclass(slots=True)
class Shop:
    """Numbers go on where the last run ended; at `most` orders no more come in."""

    flow_id: str
    most: int
    last_number: int = 0
    regretted: list[str] = field(default_factory=list)

    def open_books(self) -> None:
        taken = Transaction.objects.filter(instance_id__startswith=orders.PREFIX)
        last = taken.order_by("-instance_id").values_list("instance_id", flat=True).first()
        self.last_number = orders.number_of(last) if last else 0

    def take_orders(self, count: int) -> int:
        numbers = range(self.last_number + 1, min(self.last_number + count, self.most) + 1)
        requests = [StartRequest(orders.instance_id(n), self.flow_id, orders.params(n)) for n in numbers]
        if requests:
            start_many(requests, actor=ACTOR)
            self.last_number = numbers[-1]
        self.regretted += [orders.instance_id(n) for n in numbers if orders.customer(n).startswith("regret")]
        return len(requests)

    def cancel_regretted(self) -> None:
        for instance_id in self.regretted:
            with contextlib.suppress(DistTaskError):  # it may have ended meanwhile
                cancel_transaction(instance_id, actor=ACTOR, remark="demo: the customer changed their mind")
        self.regretted = []

    def tick(self) -> None:
        """One step of the day; a database that is away for a moment is met again at the next one."""
        try:
            self.cancel_regretted()
            self.take_orders(1)
            handle_oldest(beyond=MOST_OPEN_EXCEPTIONS)
        except DatabaseError as error:
            logger.warning("the database is away: %s", error)
            connections.close_all()


def handle_oldest(*, beyond: int) -> None:
    """Keep the newest open exceptions of the demo for people, and handle one that is older."""
    mine = ExceptionRecord.objects.needing_a_person().filter(flow__name=orders.FLOW_NAME)
    for pk in _first(mine.order_by("-id").values_list("pk", flat=True)[beyond : beyond + 1]):
        with contextlib.suppress(DistTaskError):
            handle_exception(pk, actor=ACTOR, remark=REMARK, resolution="fixed_externally")


def _first(pks: Iterable[int]) -> list[int]:
    return list(pks)[:1]
