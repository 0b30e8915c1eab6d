"""The measured flows as chains of Celery tasks. REDIS is the address of its broker and results."""

from __future__ import annotations

import json
import os

import urllib3
from celery import Celery, Signature, chain

STEPS = os.environ["STEPS"]
pool = urllib3.PoolManager(maxsize=32)
app = Celery("bench", broker=f"{os.environ['REDIS']}/0", backend=f"{os.environ['REDIS']}/1")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(
    name="step",
    autoretry_for=(Exception,),
    max_retries=3,
    default_retry_delay=1,
    retry_backoff=False,
    retry_jitter=False,
)
def step(key: str, path: str) -> dict:
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    answer = pool.request("POST", STEPS + path, body=json.dumps({"key": key}), headers=headers, retries=False)
    if answer.status >= 400:
        raise RuntimeError(answer.status)
    return json.loads(answer.data)


def flow_of(name: str, key: str) -> Signature:
    if name == "R1":
        return step.si(f"{key}:a", "/retry")
    return chain(*(step.si(f"{key}:{letter}", "/step") for letter in "abc"))
