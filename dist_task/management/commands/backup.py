"""Write the whole database into one file, while the service runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dist_task.management.arguments import WRONG_ARGUMENTS
from dist_task.management.dumps import run_program


class Command(BaseCommand):
    help = "Write the whole database into a file (pg_dump's custom format). The service may run meanwhile."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file")

    def handle(self, *args: Any, **options: Any) -> None:
        path = Path(options["file"])
        if path.exists():
            raise CommandError(f"{path} exists already", returncode=WRONG_ARGUMENTS)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # it holds everything: private
            run_program("pg_dump", "--format=custom", f"--file={draft}")
            draft.rename(path)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from error
        finally:
            draft.unlink(missing_ok=True)
        self.stdout.write(f"{path}: {path.stat().st_size} bytes")
