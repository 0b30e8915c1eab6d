"""python -m campaign --minutes N --seed S: see script/campaign."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

NEEDED = (
    "rescue",
    "takeover",
    "worker_lost",
    "fenced",
    "unknown_open",
    "parked",
    "duplicate_start",
    "retried",
    "compensated",
    "undo_lost",
    "pause",
    "retry_at_once",
    "called_back",
)
QUIET_SECONDS = 150.0


def main() -> int:
    options = parse()
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    folder.chmod(0o711)  # the database's own user passes through
    ours = {
        "DJANGO_SETTINGS_MODULE": "campaign.settings",
        "DIST_TASK_DATA": str(folder / "var"),
        "LOG_LEVEL": "WARNING",
    }
    os.environ.update(ours)
    for name in ("DATABASE_URL", "DIST_TASK_PROFILE", "DIST_TASK_KEEPER"):
        os.environ.pop(name, None)
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    try:
        status = campaign(options, folder=folder)
    finally:
        say(f"logs and data: {folder}" if options.keep else "")
    if not options.keep and not status:
        from django.db import connections

        connections.close_all()
        shutil.rmtree(folder, ignore_errors=True)
    return status


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/campaign", description="Random faults, then a judge.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long faults are made (default 5)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed draws the same faults (default 1)")
    parser.add_argument(
        "--points", default=None, metavar="SPEC", help="failpoints of the clusters instead of the usual"
    )
    parser.add_argument("--need", default=",".join(NEEDED), help="rare states that must have been reached")
    parser.add_argument("--keep", action="store_true", help="keep the data folder and the logs")
    return parser.parse_args()


def campaign(options: argparse.Namespace, *, folder: Path) -> int:
    from campaign.clients import Clients, call_back
    from campaign.clusters import CUTS, RunningCluster
    from campaign.faults import Faults
    from campaign.operators import Operators
    from campaign.service import StepService
    from campaign.workload import called_back, kinds, poison, post

    service = StepService(call_back=call_back)
    flows = [(kind, post(kind)) for kind in (*kinds(service.url), called_back(service.url))]
    clusters = [
        RunningCluster(log=folder / f"cluster{number}.log", points=CUTS if options.points is None else options.points)
        for number in (1, 2)
    ]
    clients, operators = Clients(flows=flows, seed=options.seed), Operators(seed=options.seed)
    faults = Faults(dice=random.Random(options.seed), clusters=clusters, folder=folder / "var")
    poison()
    try:
        clients.begin()
        operators.begin()
        rage(faults, clusters=clusters, minutes=options.minutes, dice=random.Random(options.seed + 1))
        say("healing")
        faults.heal()
        clients.end()
        operators.end()
        unfinished = quiet(clusters, started=len(clients.started))
        stopped = [cluster.stop() for cluster in clusters]
    finally:
        for cluster in clusters:
            cluster.end()
    done = clients.seen | operators.done
    return conclude(
        options,
        started=clients.started,
        done=done,
        faults=faults,
        calls=service.calls,
        unfinished=unfinished,
        stopped=stopped,
    )


def rage(faults: object, *, clusters: list, minutes: float, dice: random.Random) -> None:  # type: ignore[type-arg]
    ends_at, next_at = time.monotonic() + minutes * 60, time.monotonic() + 5
    while (now := time.monotonic()) < ends_at:
        for cluster in clusters:
            cluster.ensure()
        if now >= next_at:
            faults.strike()  # type: ignore[attr-defined]
            next_at = time.monotonic() + dice.uniform(0.5, 4.0)
        time.sleep(0.1)


def quiet(clusters: list, *, started: int) -> int:  # type: ignore[type-arg]
    """Waits until everything has ended; how many have not."""
    from django.db import Error, connection

    from transactions.models import Transaction

    ends_at = time.monotonic() + QUIET_SECONDS
    while True:
        for cluster in clusters:
            cluster.ensure()
        try:
            left = Transaction.objects.unfinished().exclude(instance_id__startswith="poison").count()
        except Error:
            connection.close()
            left = started
        if not left or time.monotonic() > ends_at:
            return left
        time.sleep(0.5)


def conclude(options: argparse.Namespace, *, started, done, faults, calls, unfinished, stopped) -> int:  # type: ignore[no-untyped-def]
    from campaign.judge import judge

    reached = states() | done
    problems = judge(started=started, calls=calls)
    problems += [f"{unfinished} transactions have not ended"] if unfinished else []
    problems += faults.complaints
    problems += [] if all(stopped) else ["a cluster had to be killed"]
    problems += [f"never reached: {name}" for name in options.need.split(",") if name and not reached[name]]
    say(f"seed {options.seed}, {options.minutes:g} minutes")
    say(f"{len(started)} transactions, {len(calls)} calls")
    say("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(faults.done.items())))
    say("reached: " + ", ".join(f"{name} {count}" for name, count in sorted(reached.items())))
    for problem in problems[:50]:
        say(f"BROKEN {problem}")
    say(f"{len(problems)} problems" if problems else "all guarantees held")
    return 1 if problems else 0


def states() -> Counter[str]:
    """How often each rare state was reached, from the rows."""
    from dist_task.models import ExecutionLog, TaskRun
    from exceptions_app.models import ExceptionRecord

    log = ExecutionLog.objects
    rescued = log.filter(event="rescued")
    return Counter(
        {
            "rescue": rescued.count(),
            "takeover": rescued.filter(transaction__status="success").values("transaction").distinct().count(),
            "worker_lost": log.filter(event="worker_lost").count(),
            "fenced": log.filter(event="fenced").count(),
            "unknown_open": ExceptionRecord.objects.filter(outcome="unknown", status="open").count(),
            "parked": log.filter(event="parked").count(),
            "compensated": log.filter(event="compensated", message="done").count(),
            "called_back": log.filter(event="answered").count(),
            "undo_lost": log.filter(event="worker_lost", op="compensate").count(),
            "retried": TaskRun.objects.filter(attempt__gt=1, status="success").count(),
        }
    )


def say(text: str) -> None:
    if text:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
