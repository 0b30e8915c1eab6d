"""Several operators do what comes to their minds, at once: no rule is broken, and all comes to an end."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from dist_task.engine import operate
from dist_task.errors import DistTaskError
from exceptions_app.models import ExceptionRecord
from transactions.models import Transaction

from .conftest import begin, make_flow
from .service import Answer, Service
from .test_foreach import each
from .test_transactions_run import http
from .worker import WorkerThread, wait_for

WHY = {"actor": "ann", "remark": "why not"}
FLAKY = {"strategy": "auto", "max_attempts": 2, "interval": 0.02}
ROUNDS = 60


def flow_of(service: Service) -> Any:
    undo = {"config": {"url": service.url("/undo")}, "retry": {"strategy": "manual"}}
    return make_flow(
        http("a", service, retry=FLAKY, compensate=undo),
        http("b", service, "a", compensate=undo),
        each("pay", service, "a", config={"url": service.url("/pay")}, compensate=undo, max_parallel=2),
        http("then", service, "b", "pay", optional=True, input={"all": "${tasks.pay.output}"}),
    )


def one_of(chance: random.Random, rows: Any, field: str) -> Any:
    found = list(rows.values_list(field, flat=True))
    return chance.choice(found) if found else None


def do_something(chance: random.Random, done: Counter[str]) -> None:
    instance_id = one_of(chance, Transaction.objects.all(), "instance_id")
    exception_id = one_of(chance, ExceptionRecord.objects.all(), "pk")
    force, output = chance.random() < 0.5, {"by": "hand"}
    tasks = chance.sample(["a", "b", "pay", "then"], chance.choice([0, 1, 1, 2]))
    verbs: dict[str, Callable[[], object]] = {
        "pause": lambda: operate.pause_transaction(instance_id, **WHY),
        "resume": lambda: operate.resume_transaction(instance_id, **WHY),
        "retry": lambda: operate.retry_transaction(instance_id, actor="ann"),
        "compensate": lambda: operate.compensate_transaction(instance_id, actor="ann", remark="why"),
        "cancel": lambda: operate.cancel_transaction(instance_id, actor="ann", remark="why"),
        "rerun": lambda: operate.rerun_transaction(instance_id, tasks=tasks, force=force, **WHY),
    }
    if exception_id is not None:
        verbs |= {
            "skip": lambda: operate.skip_run(exception_id, output=output, force=force, **WHY),
            "complete": lambda: operate.complete_run(exception_id, output=output, force=force, **WHY),
            "handle": lambda: operate.handle_exception(exception_id, actor="ann"),
            "edit": lambda: operate.retry_exception(exception_id, actor="ann", delay_seconds=0, input={"n": 2}),
            "comment": lambda: operate.comment_exception(exception_id, **WHY),
        }
    weights = [1 if name in ("cancel", "compensate") else 4 for name in verbs]
    [name] = chance.choices(list(verbs), weights)
    try:
        verbs[name]()
        done[name] += 1
    except DistTaskError:
        done[f"{name} refused"] += 1


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_operators_do_all_comes_to_an_end(
    start_worker: Callable[[], WorkerThread], service: Service, seed: int
) -> None:
    chance = random.Random(seed)
    for path in ("/a", "/b", "/pay", "/then", "/undo"):
        bad = Answer(400), Answer(503), Answer(drop=True), Answer(200, seconds=0.05)
        service.answer(path, *(chance.choice([*bad, Answer(200)]) for _ in range(60)))
    flow = flow_of(service)
    for _ in range(12):
        begin(flow, params={"items": [1, 2, 3]})
    start_worker()
    start_worker()
    done: Counter[str] = Counter()
    errors: list[BaseException] = []

    def operator(number: int) -> None:
        own = random.Random(seed * 100 + number)
        try:
            for _ in range(ROUNDS):
                do_something(own, done)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    operators = [threading.Thread(target=operator, args=(number,)) for number in range(3)]
    for each_one in operators:
        each_one.start()
    for each_one in operators:
        each_one.join(120)

    assert errors == []
    wait_for(all_ended, seconds=60)
    assert {"pause", "resume", "skip", "complete", "rerun"} <= done.keys(), done


def all_ended() -> bool:
    """Who is paused is resumed meanwhile."""
    for instance_id in Transaction.objects.filter(paused=True).values_list("instance_id", flat=True):
        operate.resume_transaction(instance_id, **WHY)
    has_something_left = Transaction.objects.unfinished() | Transaction.objects.filter(compensation="running")
    return not has_something_left.exists()
