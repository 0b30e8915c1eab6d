"""Start a transaction from the command line, and wait for its end where asked to."""

from __future__ import annotations

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dist_task.engine.start import StartRequest, start
from dist_task.errors import DistTaskError, InvalidRequest
from dist_task.management.arguments import WRONG_ARGUMENTS, actor, read_text, seconds
from dist_task.payload import check_strict
from dist_task.states import FINAL_TRANSACTION, TransactionStatus
from flows.models import Flow
from transactions.models import Transaction

POLL_SECONDS = 0.1


class Command(BaseCommand):
    help = "Start a transaction. To start the same id, flow and parameters again is harmless."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("instance_id")
        parser.add_argument("flow", help="the id of a flow version, or a name for its latest active version")
        given = parser.add_mutually_exclusive_group()
        given.add_argument("--params", metavar="JSON", help="the parameters, a JSON object")
        given.add_argument("--params-file", metavar="FILE", help="a file that holds them; - reads standard input")
        parser.add_argument("--wait", type=seconds, metavar="SECONDS", help="wait for the end; exit 1 unless success")

    def handle(self, *args: Any, **options: Any) -> None:
        request = StartRequest(
            instance_id=options["instance_id"],
            flow_id=find_flow(options["flow"]).pk,
            params=read_params(options),
        )
        try:
            started = start(request, actor=actor())
        except InvalidRequest as error:
            raise CommandError(str(error), returncode=WRONG_ARGUMENTS) from error
        except DistTaskError as error:
            raise CommandError(str(error)) from error
        verb = "started" if started.created else "was started before"
        self.stdout.write(f"{started.instance_id} {verb}: flow {started.flow_id}, status {started.status}")
        if options["wait"] is not None:
            self._wait(started.instance_id, seconds=options["wait"])

    def _wait(self, instance_id: str, *, seconds: float) -> None:
        status = wait_for_end(instance_id, seconds=seconds)
        self.stdout.write(f"{instance_id}: {status}")
        if status not in FINAL_TRANSACTION:
            raise CommandError(f"{instance_id} has not ended after {seconds:g} s")
        if status != TransactionStatus.SUCCESS:
            raise CommandError(f"{instance_id} did not succeed")


def find_flow(name: str) -> Flow:
    """By id, or the latest active version of a name."""
    visible = Flow.objects.visible()
    flow = visible.filter(pk=name).first() or visible.filter(is_active=True).latest_of(name)
    if flow is None:
        raise CommandError(f"no flow has the id {name!r}, and none that is active has this name", returncode=1)
    return flow


def read_params(options: dict[str, Any]) -> dict[str, Any]:
    text = options["params"] if options["params_file"] is None else read_text(options["params_file"])
    try:
        params = json.loads(text) if text is not None else {}
    except (ValueError, RecursionError) as error:
        raise CommandError(f"the parameters are not JSON: {error}", returncode=WRONG_ARGUMENTS) from error
    if not isinstance(params, dict):
        raise CommandError("the parameters must be a JSON object", returncode=WRONG_ARGUMENTS)
    if problems := check_strict(params, path="params"):
        raise CommandError("; ".join(map(str, problems)), returncode=WRONG_ARGUMENTS)
    return params


def wait_for_end(instance_id: str, *, seconds: float) -> str:
    """The status when it is final, or the one at the end of the time."""
    deadline = time.monotonic() + seconds
    while True:
        status = Transaction.objects.values_list("status", flat=True).get(instance_id=instance_id)
        if status in FINAL_TRANSACTION or time.monotonic() >= deadline:
            return status
        time.sleep(POLL_SECONDS)
