"""The web server: one process, uvicorn on uvloop."""

from __future__ import annotations

import logging
import os
from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandParser
from django.db import connections
from django.urls import get_resolver

from dist_task import garbage
from dist_task.engine.store.starts import MOST_WAIT_MS


class Command(BaseCommand):
    help = "Serve the API and the console in the foreground until SIGTERM."
    requires_system_checks = [Tags.security]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=os.environ.get("DIST_TASK_BIND", "127.0.0.1"))
        parser.add_argument("--port", type=int, default=8080)
        parser.add_argument(
            "--grace", type=int, default=5, metavar="SECONDS", help="for requests at the end (default 5)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        import uvicorn

        from dist_task.alerts.lookout import keep_lookout
        from dist_task.asgi import application

        # Who holds a lock on whole tables makes a request fail soon, not hang.
        database = connections.settings["default"]["OPTIONS"]
        database["options"] = f"-c lock_timeout={MOST_WAIT_MS} {database.get('options', '')}".strip()
        # Else the first request pays for importing every view.
        _ = get_resolver().url_patterns
        # The supervisor asks until it is true; that it is not yet is no error.
        logging.getLogger("django.request").addFilter(lambda record: "/readyz" not in record.getMessage())
        config = uvicorn.Config(
            application,
            host=options["host"],
            port=options["port"],
            loop="uvloop",
            http="httptools",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            # Where TLS ends in front of us is Django's to judge (BEHIND_PROXY), not a header's.
            proxy_headers=False,
            backlog=2048,
            timeout_graceful_shutdown=options["grace"],
        )
        garbage.settle()
        keep_lookout()
        uvicorn.Server(config).run()
