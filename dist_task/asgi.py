"""The service as an ASGI application: Django in a fixed pool of threads, each with a lasting connection."""

from __future__ import annotations

import os
from typing import Any, cast

from a2wsgi import WSGIMiddleware

from dist_task.wsgi import application as django_application

THREADS = int(os.environ.get("WEB_THREADS", "8"))


def build_application() -> Any:
    from dist_task.intake import App, Intake
    from dist_task.longpoll import LongPoll

    return LongPoll(Intake(cast(App, WSGIMiddleware(cast(Any, django_application), workers=THREADS))))


application = build_application()
