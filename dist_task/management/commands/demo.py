"""A shop to try things out with: services that fail on purpose, and orders that come in slowly."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from dist_task.demo.shop import Shop, open_shop, register_order_flow
from dist_task.management.arguments import count, seconds


class Command(BaseCommand):
    help = "Serve the demo shop and let orders (demo_...) come in until SIGTERM. For the development profile."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--orders", type=count, default=20, metavar="N", help="at the first start (default 20)")
        parser.add_argument("--every", type=seconds, default=5.0, metavar="SECONDS", help="then one (default 5)")
        parser.add_argument("--most", type=count, default=300, metavar="N", help="in all (default 300)")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PROFILE != "development":
            raise CommandError("the demo is for the development profile: its services are on loopback")
        stopped = stop_event()
        server = open_shop(settings.DATA_DIR / "demo.json")
        threading.Thread(target=server.serve_forever, name="demo-service", daemon=True).start()
        flow = register_order_flow(port=server.port)
        shop = Shop(flow_id=flow.pk, most=options["most"])
        shop.open_books()
        if not shop.last_number:
            shop.take_orders(options["orders"])
        self.stdout.write(f"demo shop at http://127.0.0.1:{server.port}, flow {flow} ({flow.pk})")
        self.stdout.flush()
        while not stopped.wait(options["every"]):
            shop.tick()
        server.shutdown()


def stop_event() -> threading.Event:
    """Set by SIGTERM and SIGINT."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopped
