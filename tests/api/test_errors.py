"""Every error path speaks the envelope. The fixture `api` checks that of every answer in this folder."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client, RequestFactory

from dist_task import envelope
from tests.api.conftest import Api, checked

FLOWS = "/api/v1/flows"


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/nope", {}, 404),
        ("GET", "/api", {}, 404),
        ("GET", "/api/v1", {}, 404),
        ("GET", "/api/v1/nope/", {}, 404),
        ("GET", "/api/v1/flows//", {}, 404),
        ("GET", "/api/v1/flows/a/b/c", {}, 404),
        ("GET", "/static/nope.css", {}, 404),
        ("GET", "/%FF%00", {}, 404),
        ("DELETE", FLOWS, {}, 405),
        ("PATCH", FLOWS + "/x", {}, 405),
        ("GET", "/api/v1/transactions/x/retry", {}, 405),
        ("POST", "/health", {}, 405),
        ("TRACE", FLOWS, {}, 405),
        ("BREW", FLOWS, {}, 405),
        ("GET", "/health?x=1", {}, 400),
        ("GET", FLOWS, {"headers": {"Host": "evil.example"}}, 400),
        ("GET", FLOWS, {"headers": {"Authorization": "Bearer nope"}}, 401),
        ("GET", FLOWS, {"headers": {"Authorization": "Bearer"}}, 401),
        ("GET", FLOWS, {"headers": {"Authorization": "Bearer a b"}}, 401),
        ("GET", FLOWS, {"headers": {"Authorization": "Bearer \xff\xfe"}}, 401),
        ("POST", FLOWS, {"body": "x" * 10_485_761}, 413),
        ("POST", "/api/v1/transactions", {"body": '"' + "x" * 1_048_576 + '"'}, 413),
        ("POST", FLOWS, {"body": "a=b", "content_type": "application/x-www-form-urlencoded"}, 415),
        ("POST", FLOWS, {"body": "{}", "content_type": "text/plain"}, 415),
        ("POST", FLOWS, {"body": "{}", "content_type": "application/jsonp"}, 415),
        ("POST", FLOWS, {"body": "{}", "content_type": "multipart/form-data; boundary=x"}, 415),
        ("POST", FLOWS, {"body": "{}", "content_type": "application/json; charset=utf-16"}, 415),
        ("POST", FLOWS, {"body": "{}", "content_type": ""}, 415),
    ],
)
def test_it_is_answered_with_the_code_of_the_status(
    api: Api, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    assert api.ask(method, path, **options).status == status


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"name": "a",\n "b"}', "line 2, column 5"),
        (b"", ""),
        (b"{", "line 1, column 2"),
        (b'\xff{"a": 1}', "byte 0"),
        (b"\xef\xbb\xbf{}", "line 1"),
        (b"[" * 100_000, "too deeply"),
        (b'{"a":' * 60 + b"1" + b"}" * 60, "levels"),
        (b'{"name": NaN}', "name"),
        (b'{"name": -Infinity}', "name"),
        (b'{"name": 1e400}', "name"),
        (b'{"name": 1' + b"0" * 5000 + b"}", "name"),
        (b'{"name": "\\ud800"}', "name"),
        (b'{"name": "a\\u0000b"}', "name"),
        (b'{"\\ud800": 1}', "not allowed"),
        (b"null", "object"),
        (b"[]", "object"),
        (b'"text"', "object"),
        (b"17", "object"),
    ],
)
def test_a_body_that_is_not_right_is_400_and_the_place_is_named(api: Api, body: bytes, told: str) -> None:
    answer = api.post(FLOWS, body)

    assert answer.status == 400
    assert told in answer.message


def test_all_fields_that_are_wrong_are_named_at_once(api: Api) -> None:
    answer = api.post(FLOWS, {"name": 5, "flow_type": "", "colour": "red", "definition": 1})

    assert answer.fields == {"name", "flow_type", "colour", "definition", "create_user"}
    assert answer.message.startswith("name: Not a valid string.")


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/png", "nonsense", "application/json;q=0"])
def test_whatever_a_client_accepts_it_gets_json(api: Api, accept: str) -> None:
    assert api.get(FLOWS, headers={"Accept": accept}).status == 200


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"'],
)
def test_json_with_a_charset_is_json(api: Api, content_type: str) -> None:
    assert api.post(FLOWS, b"{}", content_type=content_type).fields >= {"name"}


def test_messages_are_chinese_for_who_asks_in_chinese(api: Api) -> None:
    answer = api.post(FLOWS, {}, headers={"Accept-Language": "zh-CN,zh;q=0.9"})

    assert "该字段是必填项" in answer.message


def test_options_names_the_methods_and_head_has_no_body(api: Api) -> None:
    assert api.ask("OPTIONS", FLOWS).data == {"methods": ["GET", "POST", "HEAD", "OPTIONS"]}
    response = Client().head(FLOWS)
    assert (response.status_code, response.content) == (200, b"")


def test_a_crash_is_500_with_an_id_that_the_log_has(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("stats.queries.overview", crash)
    with caplog.at_level(logging.ERROR):
        answer = api.get("/api/v1/stats/overview")

    assert answer.status == 500
    assert re.fullmatch("[0-9a-f]{16}", answer.data["error_id"])
    assert "secret" not in answer.response.content.decode()
    assert [answer.data["error_id"] in record.getMessage() for record in caplog.records] == [True]
    assert "a secret" in caplog.text


@pytest.mark.parametrize("path", ["/api/v1/stats/overview", "/health"])
def test_a_database_that_is_away_is_503(api: Api, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused at 10.0.0.7")

    with monkeypatch.context() as patch:
        patch.setattr("django.db.backends.utils.CursorWrapper.execute", refuse)
        answer = api.get(path)

    assert answer.status == 503
    assert "10.0.0.7" not in answer.response.content.decode()
    assert answer.response["Retry-After"] == "1"


def test_the_handlers_outside_of_views_speak_the_envelope() -> None:
    request = RequestFactory().get("/")

    for response, status in (
        (envelope.not_found(request), 404),
        (envelope.bad_request(request), 400),
        (envelope.forbidden(request), 403),
        (envelope.csrf_failure(request, reason="no cookie"), 403),
        (envelope.server_error(request), 500),
    ):
        assert checked(response).status == status


def test_numbers_that_json_libraries_disagree_about_are_still_answered() -> None:
    assert json.loads(envelope.dump({"n": 2**70})) == {"n": 2**70}
    assert json.loads(envelope.dump({"t": "\ud800"})) == {"t": "\ufffd"}
