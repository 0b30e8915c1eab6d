"""`manage.py cluster`: a django-q2 cluster whose workers run transactions, in the foreground."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from dist_task.engine.queue import DrainCluster


class Command(BaseCommand):
    help = "Runs a cluster of workers until SIGTERM or Ctrl-C; exits with 70 when it hangs and must be started anew."

    def handle(self, *args: Any, **options: Any) -> None:
        cluster = DrainCluster()
        self.stdout.write(f"cluster {cluster.name} starts {cluster.size} workers; Ctrl-C or SIGTERM ends it")
        self.stdout.flush()
        code = cluster.run()
        if code:
            sys.exit(code)
