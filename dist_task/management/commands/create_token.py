"""manage.py create_token USER [--role ROLE] [--days DAYS]"""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from knox.models import AuthToken

from dist_task.conf import conf
from dist_task.roles import ROLES

MOST_DAYS = 3650


class Command(BaseCommand):
    help = "Make an API token for a user and print it: once, since only its hash is kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--role", choices=sorted(ROLES), help="Make the user when there is none, and give it this role."
        )
        parser.add_argument("--days", type=int, default=conf.TOKEN_DAYS, help="Days until the token expires.")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["days"] <= MOST_DAYS:
            raise CommandError(f"--days must be from 1 to {MOST_DAYS}.")
        user = self.user(options["username"], role=options["role"])
        token, text = AuthToken.objects.create(user, expiry=timedelta(days=options["days"]))
        self.stderr.write(
            f"Token of {user.get_username()}, valid until {token.expiry:%Y-%m-%d}; it is not shown again:"
        )
        self.stdout.write(text)

    def user(self, username: str, *, role: str | None) -> User:
        user = User.objects.filter(username=username).first()
        if user is None and role is None:
            raise CommandError(f"There is no user {username}; with --role it is made.")
        if user is None:
            user = User(username=username)
            user.set_unusable_password()
            user.full_clean(exclude=["password"])
            user.save()
        if role:
            user.groups.add(Group.objects.get(name=role))
        return user
