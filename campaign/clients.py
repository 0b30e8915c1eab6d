"""Clients that start transactions, and services that call back: they ask again when they were not answered."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import suppress

from django.db import Error as DatabaseError
from django.db import connection

from dist_task.engine import operate
from dist_task.engine.start import StartRequest, start
from dist_task.errors import DatabaseUnavailable, Gone
from dist_task.executors.callback import run_of
from flows.models import Flow

from .workload import Kind

PAUSE_SECONDS, AGAIN_SECONDS = 0.04, 0.1


class Clients:
    """Threads that start transactions; now and then one asks twice for the same."""

    def __init__(self, *, flows: list[tuple[Kind, Flow]], seed: int, threads: int = 3) -> None:
        self.started: dict[str, Kind] = {}
        self.seen: Counter[str] = Counter()
        self._flows, self._stop = flows, threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}/{number}"), number), daemon=True)
            for number in range(threads)
        ]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """After the last one has its answer."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, dice: random.Random, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            kind, flow = dice.choice(self._flows)
            instance_id = f"{kind.name}-{number}-{count}"
            self._answered(instance_id, flow=flow)
            self.started[instance_id] = kind
            if dice.random() < 0.1:
                self._answered(instance_id, flow=flow)
            count += 1
            time.sleep(PAUSE_SECONDS)
        connection.close()

    def _answered(self, instance_id: str, *, flow: Flow) -> None:
        while True:
            try:
                created = start(StartRequest(instance_id, flow.pk, {})).created
            except (DatabaseError, DatabaseUnavailable):
                self.seen["start_not_answered"] += 1
                connection.close()
                time.sleep(AGAIN_SECONDS)
            else:
                self.seen["start"] += created
                self.seen["duplicate_start"] += not created
                return


def call_back(address: str) -> None:
    """Until it is taken, or another one of the same run was. In a thread of its own."""
    name = run_of(address.rpartition("/")[2])
    while True:
        try:
            with suppress(Gone):
                operate.take_callback(name, result="success", answer={"output": {}})
            break
        except (DatabaseError, DatabaseUnavailable):
            connection.close()
            time.sleep(AGAIN_SECONDS)
    connection.close()
