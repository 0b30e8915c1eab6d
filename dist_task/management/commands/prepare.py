"""What has to be there before the service starts. Quick when it is."""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

ADVISORY_LOCK = 4_142_001
"""Of several machines that start at once, one migrates and the others wait for it."""


class Command(BaseCommand):
    help = "Migrate where needed; in the development profile make the user `admin`; else collect static files."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
            try:
                self.migrate()
                self.make_admin()
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])
        if settings.PROFILE == "production":
            call_command("collectstatic", interactive=False, verbosity=0)

    def migrate(self) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self.stdout.write("migrating the database")
            call_command("migrate", interactive=False, verbosity=0)

    def make_admin(self) -> None:
        users = get_user_model().objects
        if settings.PROFILE != "development" or users.filter(is_superuser=True).exists():
            return
        password = secrets.token_urlsafe(12)
        users.create_superuser("admin", password=password)
        self.stdout.write(f"user admin, password {password} (shown this once; `manage.py changepassword admin`)")
