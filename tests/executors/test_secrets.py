"""Secrets are found by name, filled in where a definition says so, and seen nowhere afterwards."""

from __future__ import annotations

import json
import logging
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dist_task.errors import ExecutionError
from dist_task.executors.base import TaskCall
from dist_task.executors.secrets import SECRETS, Secrets, fill, named_in, places
from dist_task.payload import for_log, loads_untrusted, mask, redact
from dist_task.redaction import Redactor

from .conftest import OK, Run, call, failure
from .raw_service import keeps_saying, says, serving

VALUE = 's3cr3t/+ "q\\uote"<é>&='


@pytest.fixture
def secrets() -> Iterator[Secrets]:
    SECRETS.put({"KEY": VALUE, "OTHER": "other-value-of-a-test"}, faults={"BROKEN": "no key opens it"})
    yield SECRETS
    SECRETS.put({})


@pytest.fixture
def redactor() -> Redactor:
    redactor = Redactor()
    redactor.learn(VALUE)
    return redactor


def test_secrets_are_filled_into_the_strings_of_a_value(secrets: Secrets) -> None:
    value = {"a": ["${secrets.KEY}", 1, None], "b": {"c": "x ${secrets.OTHER} y ${secrets.OTHER}"}}

    assert fill(value) == {
        "a": [VALUE, 1, None],
        "b": {"c": "x other-value-of-a-test y other-value-of-a-test"},
    }


@pytest.mark.parametrize("text", ["${secrets.}", "${secrets.1a}", "${secrets.a-b}", "$secrets.KEY", "${secret.KEY}"])
def test_what_is_no_template_stays_as_it_is(secrets: Secrets, text: str) -> None:
    assert fill(text) == text


def test_what_a_secret_holds_is_not_filled_again() -> None:
    SECRETS.put({"A": "${secrets.B}", "B": "never shown"})

    assert fill("${secrets.A}") == "${secrets.B}"


@pytest.mark.parametrize(("name", "told"), [("MISSING", "is not set"), ("BROKEN", "no key opens it")])
def test_a_missing_secret_is_named_and_may_be_tried_again(secrets: Secrets, name: str, told: str) -> None:
    with pytest.raises(ExecutionError, match=f"{name}.*{told}") as caught:
        fill({"a": "${secrets.KEY}", "b": f"${{secrets.{name}}}"})

    assert (caught.value.code, caught.value.permanent, caught.value.unknown) == ("NO_SECRET", False, False)
    assert VALUE not in str(caught.value)


def test_only_the_places_of_a_definition_are_filled(secrets: Secrets) -> None:
    defined = places({"key": "${secrets.KEY}", "list": [{"x": "Bearer ${secrets.OTHER}"}], "note": "plain"})
    given_by_a_caller = {"key": "${secrets.KEY} ${secrets.OTHER}", "list": "moved", "note": "${secrets.KEY}"}

    assert SECRETS.fill_places(given_by_a_caller, places=defined) == {
        "key": f"{VALUE} ${{secrets.OTHER}}",
        "list": "moved",
        "note": "${secrets.KEY}",
    }


def test_places_survive_json(secrets: Secrets) -> None:
    found = json.loads(json.dumps(places({"list": [{"x": "Bearer ${secrets.OTHER}"}]})))

    assert SECRETS.fill_places({"list": [{"x": "Bearer ${secrets.OTHER}"}]}, places=found) == {
        "list": [{"x": "Bearer other-value-of-a-test"}]
    }


def test_a_connection_names_secrets_in_templates_and_in_its_auth() -> None:
    config = {"headers": {"X": "a ${secrets.ONE}"}, "auth": {"secret": "TWO"}, "list": ["${secrets.THREE}"]}

    assert named_in(config) == {"ONE", "TWO", "THREE"}


ECHOES = {
    "itself": VALUE,
    "JSON": json.dumps(VALUE),
    "JSON in JSON": json.dumps(json.dumps({"key": VALUE})),
    "JSON in ASCII": json.dumps({"key": VALUE}, ensure_ascii=True),
    "JSON in UTF-8": json.dumps({"key": VALUE}, ensure_ascii=False),
    "URL": quote(VALUE),
    "URL in full": quote(VALUE, safe=""),
    "form": urlencode({"key": VALUE}),
    "form in lower case": quote_plus(VALUE).replace("%2F", "%2f").replace("%2B", "%2b").lower(),
    "repr": repr({"key": VALUE}),
    "base64": b64encode(VALUE.encode()).decode(),
    "base64 for URLs": urlsafe_b64encode(VALUE.encode()).decode(),
    "hexadecimal": VALUE.encode().hex(),
}
LEAKS = ("s3cr3t", "uote", "c3VjcmV0", "7333637233", "M2NyM3")


@pytest.mark.parametrize("echo", ECHOES)
def test_a_secret_is_masked_in_whatever_form_it_comes_back(redactor: Redactor, echo: str) -> None:
    shown = redactor.text(f"before {ECHOES[echo]} after")

    assert "***" in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert not any(leak in shown for leak in LEAKS)


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "user:", "admin:\N{WHITE SMILING FACE}"])
@pytest.mark.parametrize("after", ["", "x", "yz", ":end"])
def test_a_secret_within_base64_is_masked_at_every_alignment(redactor: Redactor, before: str, after: str) -> None:
    text = b64encode(f"{before}{VALUE}{after}".encode()).decode()

    shown = redactor.text(text)

    first, _mask, last = shown.partition("***")
    assert _mask
    assert len(first) <= len(before.encode()) * 4 // 3
    assert len(last.rstrip("=")) <= -(-len(after) * 4 // 3)


TEXTS = st.text(st.characters(exclude_characters="*"), max_size=40)


@given(TEXTS.filter(lambda text: len(text) >= 4), TEXTS, TEXTS)
def test_no_text_keeps_a_secret(value: str, before: str, after: str) -> None:
    redactor = Redactor()
    redactor.learn(value)

    for form in (value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value.encode("utf-8", "replace"))):
        assert form not in redactor.text(f"{before}{form}{after}")


@pytest.mark.parametrize("value", [{"a": [VALUE]}, {VALUE: 1}, [VALUE], VALUE, {"a": {"b": f"x{VALUE}y"}}])
def test_a_value_that_holds_a_secret_is_found_and_cleaned(secrets: Secrets, value: Any) -> None:
    fill("${secrets.KEY}")

    assert VALUE not in str(redact(value))
    assert "***" in str(redact(value))


def test_a_number_is_masked_when_it_is_the_secret(secrets: Secrets) -> None:
    SECRETS.put({"PIN": "83710255"})
    fill("${secrets.PIN}")

    assert redact({"pin": 83710255, "amount": 100, "ok": True}) == {"pin": "***", "amount": 100, "ok": True}


def test_a_secret_across_the_cut_is_masked_before_the_cut(secrets: Secrets) -> None:
    fill("${secrets.OTHER}")
    body = {"text": "x" * 90 + "other-value-of-a-test"}

    shown = for_log(body, text=json.dumps(body).encode(), limit=100)

    assert "other" not in str(shown)
    assert "other" not in str(mask(body))


def test_one_line_of_a_key_is_masked_and_its_frame_is_not(redactor: Redactor) -> None:
    redactor.learn("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\nAoIBAQC7VJTUt9Us8cKj\n-----END PRIVATE KEY-----")

    assert redactor.text("line AoIBAQC7VJTUt9Us8cKj of -----BEGIN PRIVATE KEY-----") == (
        "line *** of -----BEGIN PRIVATE KEY-----"
    )


def test_log_records_are_clean_whoever_writes_them(secrets: Secrets, caplog: pytest.LogCaptureFixture) -> None:
    fill("${secrets.OTHER}")
    logger = logging.getLogger("somebody.else")

    try:
        raise ValueError("refused: other-value-of-a-test")
    except ValueError:
        logger.exception("with %s and %d", "other-value-of-a-test", 5)

    assert "with *** and 5" in caplog.text
    assert "ValueError: refused: ***" in caplog.text
    assert "other-value" not in caplog.text
    assert all("other-value" not in str(vars(record)) for record in caplog.records)


def test_a_plain_task_sends_secrets_of_its_headers_query_and_url(run: Run, secrets: Secrets) -> None:
    async def scenario() -> tuple[bytes, Any]:
        async with serving(keeps_saying(OK)) as service:
            result = await call(
                service.url("/do/${secrets.KEY}"),
                headers={"X-Api-Key": "k ${secrets.OTHER}", "X-Plain": "1"},
                query={"sign": "${secrets.KEY}", "n": 2},
            )
            return service.requests[0], result.request

    request, logged = run(scenario())

    assert request.startswith(f"POST /do/{quote(VALUE, safe='')}?{urlencode({'sign': VALUE, 'n': 2})} ".encode())
    assert b"\r\nX-Api-Key: k other-value-of-a-test\r\n" in request
    assert logged["url"].endswith("/do/${secrets.KEY}?sign=${secrets.KEY}&n=2")
    assert logged["headers"]["X-Api-Key"] == "***"
    assert logged["headers"]["X-Plain"] == "1"


def test_input_is_filled_at_the_definitions_places_only(run: Run, secrets: Secrets) -> None:
    async def scenario() -> tuple[Any, Any]:
        async with serving(keeps_saying(OK)) as service:
            result = await call(
                service.url(),
                value={"key": "${secrets.OTHER}", "note": "${secrets.OTHER}"},
                secret_places=places({"key": "${secrets.OTHER}"}),
            )
            return loads_untrusted(service.requests[0].split(b"\r\n\r\n", 1)[1]), result.request

    sent, logged = run(scenario())

    assert sent == {"key": "other-value-of-a-test", "note": "${secrets.OTHER}"}
    assert logged["body"] == {"key": "${secrets.OTHER}", "note": "${secrets.OTHER}"}


def test_what_a_service_echoes_is_masked_in_output_response_and_error(run: Run, secrets: Secrets) -> None:
    body = json.dumps({"got": VALUE, "message": f"no right: {VALUE}", "code": "DENIED"}).encode()

    def answer(status: bytes) -> bytes:
        location = quote(VALUE, safe="").encode()
        head = b"HTTP/1.1 %b X\r\nLocation: /%b\r\nContent-Length: %d\r\n\r\n" % (status, location, len(body))
        return head + body

    async def scenario() -> tuple[Any, ExecutionError]:
        async with serving(says(answer(b"200"))) as good, serving(says(answer(b"403"))) as bad:
            headers = {"X-Key": "${secrets.KEY}".replace("KEY", "OTHER"), "X-Other": "a"}
            SECRETS.fill("${secrets.KEY}")
            return await call(good.url(), headers=headers), await failure(bad.url(), headers=headers)

    result, error = run(scenario())

    assert result.output["body"] == {"got": "***", "message": "no right: ***", "code": "DENIED"}
    assert str(error) == "the service answered 403: no right: ***"
    for shown in (result.output, result.response, error.response):
        assert "s3cr3t" not in str(shown)


def test_without_the_secret_nothing_is_called(run: Run, secrets: Secrets) -> None:
    async def scenario() -> tuple[ExecutionError, int]:
        async with serving(keeps_saying(OK)) as service:
            return await failure(service.url(), headers={"X-Key": "${secrets.MISSING}"}), service.connections

    error, connections = run(scenario())

    assert (error.code, connections) == ("NO_SECRET", 0)


def test_a_secret_with_a_line_break_makes_no_second_header(run: Run, secrets: Secrets) -> None:
    SECRETS.put({"KEY": "a\r\nX-Evil: 1"})

    error = run(failure("http://127.0.0.1:1/", headers={"X-Key": "${secrets.KEY}"}))

    assert error.code == "INVALID_HEADER"
    assert "Evil" not in str(error)


def test_a_call_without_places_is_given_its_input_itself() -> None:
    given_input = {"note": "${secrets.KEY}"}

    assert TaskCall("t", "a", "action", -1, 1, {}, given_input, 1.0).filled_input is given_input
