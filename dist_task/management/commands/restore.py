"""Load a file of `backup` into a database in which nothing has run yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from dist_task.management.arguments import WRONG_ARGUMENTS
from dist_task.management.dumps import run_program
from transactions.models import Transaction


class Command(BaseCommand):
    help = "Load a file of `backup` into a database without transactions; the service must not run meanwhile."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file")

    def handle(self, *args: Any, **options: Any) -> None:
        path = Path(options["file"])
        if not path.is_file():
            raise CommandError(f"{path} is not a file", returncode=WRONG_ARGUMENTS)
        if holds_transactions():
            raise CommandError("there are transactions already: start with an empty database or data folder")
        run_program("pg_restore", "--clean", "--if-exists", "--no-owner", "--single-transaction", str(path))
        call_command("migrate", interactive=False, verbosity=0)
        count = Transaction.objects.count()
        self.stdout.write(f"{count} {'transaction is' if count == 1 else 'transactions are'} back")


def holds_transactions() -> bool:
    tables = connection.introspection.table_names()
    return Transaction._meta.db_table in tables and Transaction.objects.exists()
