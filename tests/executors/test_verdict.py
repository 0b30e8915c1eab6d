"""What an answer means, in tables: without a word in the config, with a protocol, with an expression."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any

import orjson
import pytest
from django.utils.timezone import now, timedelta

from dist_task.errors import ExecutionError
from dist_task.executors.base import Ongoing, Result
from dist_task.executors.connection import Answer
from dist_task.executors.http import HttpExecutor
from dist_task.executors.rpc import RpcExecutor
from dist_task.executors.verdict import ONGOING_SECONDS, verdict

OK, RETRYABLE, PERMANENT, UNKNOWN, ONGOING = "ok", "retryable", "permanent", "unknown", "ongoing"
REQUEST = {"method": "POST"}
NOT_OK = (PERMANENT, "NOT_OK")


def heard(status: int, body: Any = None, **headers: str) -> Answer:
    """Names of headers are written with _ here."""
    lines = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Answer(status, lines, body if isinstance(body, bytes) else orjson.dumps(body))


def said(answer: Answer, config: Mapping[str, Any]) -> tuple[str, str]:
    """What it means, and with which code."""
    found = verdict(answer, config=config, request=REQUEST)
    if isinstance(found, Result):
        return OK, ""
    if isinstance(found, Ongoing):
        return ONGOING, found.waits_for
    return UNKNOWN if found.unknown else PERMANENT if found.permanent else RETRYABLE, found.code


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (200, OK),
        (202, OK),
        (299, OK),
        (300, PERMANENT),
        (400, PERMANENT),
        (404, PERMANENT),
        (408, RETRYABLE),
        (409, PERMANENT),
        (425, ONGOING),
        (429, RETRYABLE),
        (499, PERMANENT),
        (500, RETRYABLE),
        (501, RETRYABLE),
        (502, UNKNOWN),
        (503, RETRYABLE),
        (504, UNKNOWN),
        (599, RETRYABLE),
    ],
)
def test_the_status_decides_where_the_config_says_nothing(status: int, meaning: str) -> None:
    assert said(heard(status), {})[0] == meaning


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(200, OK), (400, RETRYABLE), (409, RETRYABLE), (499, RETRYABLE), (300, PERMANENT), (425, ONGOING), (502, UNKNOWN)],
)
def test_retry_on_4xx_changes_4xx_only(status: int, meaning: str) -> None:
    assert said(heard(status), {"retry_on_4xx": True})[0] == meaning


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (200, OK),
        (201, RETRYABLE),
        (204, RETRYABLE),
        (302, RETRYABLE),
        (400, RETRYABLE),
        (404, RETRYABLE),
        (409, PERMANENT),
        (425, ONGOING),
        (500, RETRYABLE),
        (502, UNKNOWN),
        (504, UNKNOWN),
    ],
)
def test_dtm(status: int, meaning: str) -> None:
    assert said(heard(status), {"result_protocol": "dtm"})[0] == meaning


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"code": 0, "message": "success", "data": {}}, (OK, "")),
        (200, {"code": 0, "message": "success"}, (OK, "")),
        (400, {"code": 0, "message": "success", "data": None}, (OK, "")),
        (200, {"code": 7, "message": "no funds", "data": None}, (PERMANENT, "7")),
        (200, {"code": -1, "message": ""}, (PERMANENT, "-1")),
        (503, {"code": 503, "message": "later"}, (PERMANENT, "503")),
        (502, {"code": 0, "message": "success"}, (UNKNOWN, "0")),
        (425, {"code": 0, "message": "success"}, (ONGOING, "service")),
        # no envelopes: the status decides
        (200, {"code": 7}, (OK, "")),
        (200, {"message": "success"}, (OK, "")),
        (200, {"code": "7", "message": "no funds"}, (OK, "")),
        (200, {"code": True, "message": "no funds"}, (OK, "")),
        (200, {"code": 1.5, "message": "no funds"}, (OK, "")),
        (200, {"code": 7, "message": None}, (OK, "")),
        (200, [], (OK, "")),
        (200, b"", (OK, "")),
        (500, b"<html>", (RETRYABLE, "HTTP_500")),
        (404, {"code": "X"}, (PERMANENT, "X")),
    ],
)
def test_envelope(status: int, body: Any, expected: tuple[str, str]) -> None:
    assert said(heard(status, body), {"result_protocol": "envelope"}) == expected


def test_the_failure_of_an_envelope_has_its_message() -> None:
    found = verdict(
        heard(200, {"code": 7, "message": "no funds"}), config={"result_protocol": "envelope"}, request=REQUEST
    )

    assert isinstance(found, ExecutionError)
    assert (str(found), found.code) == ("no funds", "7")


@pytest.mark.parametrize(
    ("data", "reached"),
    [
        ({"hold": 1, "code": "own"}, {"hold": 1, "code": 0}),
        (None, {"code": 0, "data": None}),
        ([1], {"data": [1]}),
        ({"status": "x"}, {"status": 200}),
    ],
)
def test_the_members_of_an_envelopes_data_are_reached_like_those_of_a_body(data: Any, reached: dict[str, Any]) -> None:
    answer = heard(200, {"code": 0, "message": "success", "data": data})
    found = verdict(answer, config={"result_protocol": "envelope"}, request=REQUEST)

    assert isinstance(found, Result)
    assert HttpExecutor.reachable(found.output).items() >= reached.items()


@pytest.mark.parametrize(
    ("expression", "status", "body", "expected"),
    [
        ("body.state = 'done'", 200, {"state": "done"}, (OK, "")),
        ("body.state = 'done'", 200, {"state": "open"}, NOT_OK),
        ("body.state = 'done'", 200, b"text", NOT_OK),
        ("status = 404", 404, None, (OK, "")),
        ("status = 404", 200, None, NOT_OK),
        ("status < 300", 500, None, NOT_OK),
        ("headers.`x-result` = 'yes'", 204, b"", (OK, "")),
        ("body.missing", 200, {}, NOT_OK),
        ("true", 502, None, (UNKNOWN, "HTTP_502")),
        ("true", 504, None, (UNKNOWN, "HTTP_504")),
        ("true", 425, None, (ONGOING, "service")),
        ("body.n > 1", 200, {"n": "x"}, (PERMANENT, "EXPRESSION_FAILED")),
        ("$sum([1..9000000]) > 0", 200, None, (PERMANENT, "EXPRESSION_TOO_LONG")),
    ],
)
def test_ok_when(expression: str, status: int, body: Any, expected: tuple[str, str]) -> None:
    assert said(heard(status, body, x_result="yes"), {"ok_when": expression}) == expected


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("body.error.reason", "NO_FUNDS"),
        ("body.items.1.code", "7"),
        ("body.items.2.code", "NOT_OK"),
        ("body.flag", "NOT_OK"),
        ("body.nothing", "NOT_OK"),
        ("body.error", "NOT_OK"),
        ("body.error.reason.deeper", "NOT_OK"),
        ("headers.x-code", "H1"),
        ("status", "200"),
    ],
)
def test_error_code_says_where_the_code_is(path: str, code: str) -> None:
    body = {"error": {"reason": "NO_FUNDS"}, "items": [{}, {"code": 7}], "flag": True, "nothing": None}

    assert said(heard(200, body, x_code="H1"), {"ok_when": "false", "error_code": path}) == (PERMANENT, code)


@pytest.mark.parametrize("config", [{}, {"result_protocol": "dtm"}, {"result_protocol": "envelope"}])
def test_error_code_counts_whatever_decides(config: dict[str, str]) -> None:
    body = {"code": 7, "message": "no", "why": "x" * 101}

    assert said(heard(409, body), {**config, "error_code": "body.why"}) == (PERMANENT, "x" * 100)


@pytest.mark.parametrize(
    ("config", "status", "expected"),
    [
        ({}, 202, (OK, "")),
        ({"callback": False}, 202, (OK, "")),
        ({"callback": True}, 202, (ONGOING, "callback")),
        ({"callback": True, "ok_when": "false"}, 202, (ONGOING, "callback")),
        ({"callback": True, "result_protocol": "dtm"}, 202, (ONGOING, "callback")),
        ({"callback": True}, 200, (OK, "")),
        ({"callback": True}, 203, (OK, "")),
        ({"callback": True}, 425, (ONGOING, "service")),
        ({"callback": True}, 504, (UNKNOWN, "HTTP_504")),
        ({"callback": True, "ok_when": "false"}, 200, NOT_OK),
    ],
)
def test_a_202_means_accepted_where_a_callback_was_offered(
    config: dict[str, Any], status: int, expected: tuple[str, str]
) -> None:
    assert said(heard(status), config) == expected


@pytest.mark.parametrize(("config", "seconds"), [({}, None), ({"callback_within": 60}, 60)])
def test_the_wait_for_a_callback_ends_where_the_config_says_so(config: dict[str, Any], seconds: float | None) -> None:
    found = verdict(heard(202), config={"callback": True, **config}, request=REQUEST)

    assert isinstance(found, Ongoing)
    assert (found.seconds, found.within) == (seconds, None)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("", 0.1), ("0", 0.1), ("7", 7.0), ("soon", 0.1), ("999999999999", 86_400.0), ("-3", 0.1)],
)
def test_a_service_that_is_at_it_says_when_to_ask_again(given: str, seconds: float) -> None:
    found = verdict(heard(425, {"at": 1}, retry_after=given), config={}, request=REQUEST)

    assert isinstance(found, Ongoing)
    assert (found.seconds, found.least_seconds, found.within) == (None, seconds, ONGOING_SECONDS)
    assert (found.request, found.response) == (REQUEST, {"status": 425, "headers": {}, "body": {"at": 1}})


def test_retry_after_may_be_a_date() -> None:
    later = format_datetime((now() + timedelta(minutes=10)), usegmt=True)

    found = verdict(heard(503, retry_after=later), config={}, request=REQUEST)

    assert isinstance(found, ExecutionError)
    assert 590 < found.retry_after_seconds <= 600


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"result_protocol": "seata"}, "result_protocol"),
        ({"result_protocol": None}, "result_protocol"),
        ({"result_protocol": []}, "result_protocol"),
        ({"ok_when": ""}, "ok_when"),
        ({"ok_when": 1}, "ok_when"),
        ({"ok_when": ["body"]}, "ok_when"),
        ({"ok_when": "body."}, "ok_when"),
        ({"ok_when": "params.x"}, "ok_when"),
        ({"ok_when": "$now()"}, "ok_when"),
        ({"error_code": "code"}, "error_code"),
        ({"error_code": "body..code"}, "error_code"),
        ({"error_code": "body."}, "error_code"),
        ({"error_code": "body.a b"}, "error_code"),
        ({"error_code": "body." + "x" * 200}, "error_code"),
        ({"error_code": 7}, "error_code"),
        ({"ongoing_within": 0}, "ongoing_within"),
        ({"ongoing_within": True}, "ongoing_within"),
        ({"ongoing_within": "60"}, "ongoing_within"),
        ({"ongoing_within": 366 * 86_400 + 1}, "ongoing_within"),
        ({"ok_when": "true", "result_protocol": "dtm"}, "ok_when or result_protocol"),
        ({"ok_when": "true", "retry_on_4xx": True}, "ok_when or retry_on_4xx"),
        ({"result_protocol": "dtm", "retry_on_4xx": True}, "retry_on_4xx"),
    ],
)
def test_a_config_that_means_nothing_is_refused(config: dict[str, Any], word: str) -> None:
    (problem,) = HttpExecutor().check_config({"url": "http://pay.example/x", **config})

    assert word in problem


@pytest.mark.parametrize(
    "config",
    [
        {"result_protocol": "dtm"},
        {"result_protocol": "envelope", "retry_on_4xx": True, "error_code": "body.data.reason"},
        {"ok_when": "status = 200 and $exists(body.id)", "error_code": "headers.x-code"},
        {"ongoing_within": 366 * 86_400},
        {"error_code": "status"},
    ],
)
def test_a_config_that_means_something_is_taken(config: dict[str, Any]) -> None:
    assert HttpExecutor().check_config({"url": "http://pay.example/x", **config}) == []


@pytest.mark.parametrize(
    ("config", "problems"),
    [
        ({"result_protocol": "dtm"}, 0),
        ({"ok_when": "body.error.code = 5"}, 0),
        ({"error_code": "body.error.data.code"}, 0),
        ({"result_protocol": "envelope"}, 1),
        ({"retry_on_4xx": True}, 1),
    ],
)
def test_of_rpc_only_what_makes_sense_is_taken(config: dict[str, Any], problems: int) -> None:
    found = RpcExecutor().check_config({"service": "pay.example", "method": "m", **config})

    assert len(found) == problems
