"""Seal stored secrets anew with the newest key, so that older keys can be thrown away."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dist_task.sealing import has_keys, new_key
from flows.secret_rows import rotate


class Command(BaseCommand):
    help = (
        "Seal stored secrets with the newest key of DIST_TASK_SECRETS_KEYS. Afterwards older keys are needed no more."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="print how many, change none")
        parser.add_argument("--new-key", action="store_true", help="print a fresh key to put first, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["new_key"]:
            self.stdout.write(new_key())
            return
        if not has_keys():
            raise CommandError("this process has no keys for stored secrets: set DIST_TASK_SECRETS_KEYS")
        done = rotate(dry_run=options["dry_run"])
        verb = "would be sealed anew" if options["dry_run"] else "sealed anew"
        self.stdout.write(f"{done.sealed_anew} {verb}, {done.current} sealed with the newest key before")
        for name in done.unreadable:
            self.stderr.write(f"{name}: none of the keys opens it")
        if done.unreadable:
            raise CommandError(f"{len(done.unreadable)} could not be read")
