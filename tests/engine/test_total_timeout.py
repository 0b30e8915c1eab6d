"""`total_timeout`: how long a task may take with all its attempts and pauses."""

from __future__ import annotations

import itertools
import time
from datetime import timedelta

from dist_task.engine import operate
from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord

from .conftest import begin, finished, make_flow
from .service import Answer, Service
from .test_transactions_run import http
from .worker import WorkerThread, wait_for

A_BUSY_MACHINE = timedelta(seconds=20)
OFTEN = {"strategy": "auto", "max_attempts": 1000, "interval": 0.4}


def test_no_attempt_begins_after_the_total_time(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", *itertools.repeat(Answer(503), 1000))

    txn = finished(begin(make_flow(http("a", service, retry=OFTEN, total_timeout=2))))

    run = TaskRun.objects.get(transaction=txn)
    assert (txn.status, run.status, run.error_code) == ("failed", "failed", "HTTP_503")
    assert 2 <= run.attempt <= 6, "a pause of 0.4 s fits five times into 2 s"
    assert run.started_at <= run.deadline_at + A_BUSY_MACHINE


def test_a_pause_that_would_outlast_it_is_not_made(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(503))
    retry = {"strategy": "auto", "max_attempts": 5, "interval": 60}
    began_at = time.monotonic()

    txn = finished(begin(make_flow(http("a", service, retry=retry, total_timeout=30))))

    assert (txn.status, len(service.calls)) == ("failed", 1)
    assert time.monotonic() - began_at < 25


def test_an_attempt_has_no_more_time_than_is_left(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(seconds=20.0))

    txn = finished(begin(make_flow(http("a", service, timeout=60, total_timeout=0.3))))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (record.error_code, record.outcome) == ("TIMEOUT", "unknown")


def test_a_person_who_retries_gives_it_all_the_time_again(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", *itertools.repeat(Answer(503), 3))
    retry = {"strategy": "auto", "max_attempts": 1, "interval": 0.2}
    flow = make_flow(http("a", service, retry=retry, total_timeout=60))
    txn = finished(begin(flow))
    first = TaskRun.objects.get(transaction=txn).deadline_at

    operate.retry_transaction(txn.instance_id, actor="ada")

    wait_for(lambda: TaskRun.objects.get(transaction=txn).status == "success")
    assert TaskRun.objects.get(transaction=txn).deadline_at > first


def test_a_wait_that_is_longer_fails_and_is_not_cut_short(worker: WorkerThread, service: Service) -> None:
    pause = {"id": "pause", "type": "wait", "config": {"seconds": 20}, "total_timeout": 0.3}

    txn = finished(begin(make_flow(pause, http("pay", service, "pause"))))

    assert (txn.status, service.calls) == ("failed", [])
    assert TaskRun.objects.get(transaction=txn, task_id="pause").error_code == "TIMEOUT"
