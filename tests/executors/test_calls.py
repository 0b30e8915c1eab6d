"""The parts of a call that are computed: keys, trace, bodies."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dist_task.executors.base import TaskCall, name_based_uuid

from .conftest import OK, Run, call
from .raw_service import keeps_saying, serving


@given(st.uuids(), st.text())
def test_a_key_is_the_standards_uuid_of_its_name(namespace: uuid.UUID, name: str) -> None:
    assert name_based_uuid(namespace.bytes, name) == str(uuid.uuid5(namespace, name))


def test_the_key_of_a_task_run_never_changes() -> None:
    attempts = [TaskCall("order-1", "deduct", "action", 0, attempt, {}, {}, 1.0) for attempt in (1, 2)]

    assert [each.idempotency_key for each in attempts] == [
        str(uuid.uuid5(uuid.UUID("6b4f3d1e-6f0c-4c36-9d0e-0a8d0f5d7c11"), "order-1|deduct|0|action")),
    ] * 2


def test_attempts_of_a_transaction_share_a_trace_and_have_spans_of_their_own() -> None:
    traces = [TaskCall("order-1", "deduct", "action", 0, n, {}, {}, 1.0).headers["traceparent"] for n in (1, 2)]

    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace) for trace in traces)
    assert traces[0][:35] == traces[1][:35]
    assert traces[0] != traces[1]


def sent(run: Run, *, value: dict[str, Any], **config: Any) -> bytes:
    async def scenario() -> bytes:
        async with serving(keeps_saying(OK)) as service:
            await call(service.url(), value=value, **config)
            return service.requests[0].split(b"\r\n\r\n", 1)[1]

    return run(scenario())


def test_parameters_are_sent_as_json(run: Run) -> None:
    value = {"order": "订单", "amount": 10**30, "none": None, "rate": 0.1}

    assert json.loads(sent(run, value=value)) == value


def test_a_lone_body_is_sent_as_it_is_and_a_get_has_none(run: Run) -> None:
    assert sent(run, value={"body": "a=1"}) == b"a=1"
    assert sent(run, value={"body": "a=1"}, method="GET") == b""
