"""What a service gives and cannot be stored as it came is kept with a note, and nothing is asked for again."""

from __future__ import annotations

from typing import Any

import pytest

from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from tests.api.conftest import Api

from .conftest import begin, finished, make_flow
from .service import Answer, Service
from .test_transactions_run import AUTO, http
from .worker import WorkerThread

DEEP = b"[" * 500 + b"]" * 500
DEEPER = b"[" * 2_000 + b"]" * 2_000


def note_of(instance_id: str) -> str:
    """As an operator reads it."""
    log = Api().get(f"/api/v1/transactions/{instance_id}/logs").data["list"]
    (message,) = [entry["message"] for entry in log if entry["event"] == "succeeded" and entry["task_id"] == "odd"]
    return str(message)


@pytest.mark.parametrize(
    ("raw", "member", "kept", "note"),
    [
        (rb'{"x": "a\u0000b"}', "x", "a\ufffdb", "NUL, lone surrogates"),
        (rb'{"x": "a\ud800b"}', "x", "a\ufffdb", "NUL, lone surrogates"),
        (rb'{"x": {"a\u0000": 1}}', "x", {"a\ufffd": 1}, "NUL, lone surrogates"),
        (b'{"x": 1e400}', "x", "Infinity", "numbers that cannot be stored became text"),
        (b'{"x": NaN}', "x", "NaN", "numbers that cannot be stored became text"),
        (b'{"x": ' + b"7" * 2_000 + b"}", "x", hex(int("7" * 2_000)), "numbers that cannot be stored became text"),
        (DEEP, "", None, "deeper than 200 levels"),
        (DEEPER, "", DEEPER.decode(), "could not be read as JSON, and was kept as text"),
        (b'{"x": 1', "", '{"x": 1', "could not be read as JSON, and was kept as text"),
        (b'"%s"' % (b"x" * 10_000_000), "", "[cut: larger than 1048576 bytes]", "is larger than 1048576 bytes"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_it_is_stored_with_a_note_and_the_task_is_not_run_again(
    worker: WorkerThread, service: Service, raw: bytes, member: str, kept: Any, note: str
) -> None:
    service.answer("/odd", Answer(raw=raw))
    flow = make_flow(http("odd", service, retry=AUTO), http("next", service, "odd", input={"n": "${tasks.odd.output}"}))

    txn = finished(begin(flow))

    body = TaskRun.objects.get(transaction=txn, task_id="odd").output["body"]
    assert (txn.status, len(service.calls_of("/odd"))) == ("success", 1)
    assert kept is None or (body[member] if member else body) == kept
    assert service.calls_of("/next")[0].body["n"]["body"] == body
    assert note in note_of(txn.instance_id)
    assert not ExceptionRecord.objects.exists()


def test_of_an_rpc_that_gives_too_much_nobody_knows_whether_it_was_done(worker: WorkerThread, service: Service) -> None:
    service.answer("/rpc", Answer(raw=b'{"result": "%s"}' % (b"x" * 10_000_000)))
    task = {"id": "odd", "type": "rpc", "config": {"service": service.netloc, "method": "m"}, "retry": AUTO}

    txn = finished(begin(make_flow(task)))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (record.error_code, record.outcome, len(service.calls)) == ("RESPONSE_TOO_LARGE", "unknown", 1)


@pytest.mark.parametrize("raw", [b'{"x": null, "y": [1.5, "\xc3\xa9"]}', b"[" * 150 + b"]" * 150, b"", b'"\\\\u0000"'])
def test_what_can_be_stored_has_no_note(worker: WorkerThread, service: Service, raw: bytes) -> None:
    service.answer("/odd", Answer(raw=raw))

    txn = finished(begin(make_flow(http("odd", service))))

    assert note_of(txn.instance_id) == ""


def test_text_that_claims_nothing_has_no_note(worker: WorkerThread, service: Service) -> None:
    service.answer("/odd", Answer(raw=b"{", headers={"Content-Type": "text/plain"}))

    txn = finished(begin(make_flow(http("odd", service))))

    assert note_of(txn.instance_id) == ""


@pytest.mark.parametrize(
    ("when", "params", "code"),
    [
        ("$number(params.x) > 0", {"x": "many"}, "EXPRESSION_FAILED"),
        ("$sum($map(params.x, function($a) {$sum($map($$.params.x, function($b) {$a * $b}))})) > 0", {"x": [1] * 2_000},
         "EXPRESSION_TOO_LONG"),
    ],
)  # fmt: skip
def test_an_expression_that_fails_or_takes_too_long_fails_the_task_with_a_clear_exception(
    worker: WorkerThread, service: Service, when: str, params: dict[str, Any], code: str
) -> None:
    txn = finished(begin(make_flow(http("odd", service, when=when, retry=AUTO)), params=params))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (txn.status, record.error_code, record.outcome, record.occurrences) == ("failed", code, "terminal", 1)
    assert record.error_message.startswith("tasks[0].when: the expression ")
    assert service.calls == []
    assert ExecutionLog.objects.filter(transaction=txn, event="failed").count() == 1
