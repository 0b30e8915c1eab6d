"""The service as an ASGI application: Django in a fixed pool of threads, each with a lasting connection."""

from __future__ import annotations

import os
from typing import Any

from dist_task.wsgi import application as django_application

THREADS = int(os.environ.get("WEB_THREADS", "8"))


def build_application() -> Any:
    from dist_task.bridge import Bridge
    from dist_task.intake import Intake
    from dist_task.longpoll import LongPoll
    from transactions.express import Express

    return LongPoll(Express(Intake(Bridge(django_application, threads=THREADS))))


application = build_application()
