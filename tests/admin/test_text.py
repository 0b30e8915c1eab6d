"""What came from outside is text: nothing in it is obeyed, nothing is too long."""

from __future__ import annotations

from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dist_task.console.curl import request_command, start_command
from dist_task.console.text import fitted, narrowed, plain, plain_page, short


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("bell\x07", "bell\\u0007"),
        ("two\nlines", "two\nlines"),
        ("发货", "发货"),
    ],
)
def test_marks_that_a_browser_obeys_are_shown(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("<h1>a\u202eb</h1>", "<h1>a\\u202eb</h1>"),
        ('<a title="a\u202eb">x</a>', '<a title="a\\u202eb">x</a>'),
        ('<option value="a\u202eb">a\u202eb</option>', '<option value="a\u202eb">a\\u202eb</option>'),
        ("<textarea rows=2>\na\u202eb</textarea>\u202e", "<textarea rows=2>\na\u202eb</textarea>\\u202e"),
        ("value=&quot;a\u202eb&quot;", "value=&quot;a\\u202eb&quot;"),
    ],
)
def test_a_page_shows_such_marks_and_leaves_what_a_form_sends_back(page: str, shown: str) -> None:
    assert plain_page(page) == shown


@given(st.text(max_size=400), st.integers(1, 200))
def test_a_short_text_is_one_line_and_no_longer(text: str, length: int) -> None:
    assert len(short(text, length)) <= max(length, 1)
    assert "\n" not in short(text, length)


@given(st.text(max_size=400), st.integers(10, 300))
def test_what_is_fitted_takes_no_more_than_its_bytes(text: str, most: int) -> None:
    found = fitted(text, most_bytes=most)

    kept = found.rpartition("\n… ")[0] or found
    assert found == plain(text) or len(escape(kept).encode("utf-8", "replace")) <= most


def test_a_megabyte_is_cut_and_says_so() -> None:
    found = fitted("x" * 1_000_000, most_bytes=100)

    assert found.startswith("x" * 100 + "\n")
    assert "cut after 100 characters" in found


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [("order", 5, "order"), ("orders", 5, "orde…"), ("发货发货", 8, "发货发货"), ("发货发货", 7, "发货…")],
)
def test_a_name_is_cut_by_the_room_that_it_takes(text: str, columns: int, shown: str) -> None:
    assert narrowed(text, columns) == shown


def test_a_request_becomes_a_command_that_a_shell_reads_as_one() -> None:
    request = {"method": "POST", "url": "http://pay/x?a=$(id)", "headers": {"X-Key": "it's"}, "body": {"a": "`id`"}}

    command = request_command(request)

    assert "'http://pay/x?a=$(id)'" in command
    assert "-H 'X-Key: it'\"'\"'s'" in command
    assert """--data-raw '{"a": "`id`"}'""" in command


@pytest.mark.parametrize("request_", [None, {}, {"topic": "x"}, {"url": 7}, [1]])
def test_what_was_no_http_request_is_no_command(request_: object) -> None:
    assert request_command(request_) == ""


def test_a_start_like_it_has_its_parameters_and_another_id() -> None:
    command = start_command("http://here", flow_id="f1", params={"n": 1})

    assert "http://here/api/v1/transactions" in command
    assert '"NEW-ID"' in command
    assert '"params": {"n": 1}' in command
