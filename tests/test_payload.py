import datetime
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from dist_task.payload import (
    CIRCULAR,
    CUT_DEPTH,
    MASKED,
    MOST_DEPTH,
    body_of,
    capped,
    check_strict,
    dumps,
    for_log,
    loads_untrusted,
    mask,
)


def nested(depth: int, *, core: Any = "core") -> Any:
    value = core
    for _level in range(depth):
        value = [value]
    return value


def depth_of(value: Any) -> int:
    depth = 0
    while isinstance(value, list):
        value, depth = value[0], depth + 1
    return depth


wild: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**1100), max_value=10**1100)
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["\0", "\ud800", "a\0b", "null", "\\u0000"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)


# -- dumps --


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ({"a": [1, 1.5, True, None, "扣款"]}, '{"a":[1,1.5,true,null,"扣款"]}'),
        ("a\0b", '"a\ufffdb"'),
        ({"\0": 1}, '{"\ufffd":1}'),
        ("\ud800x", '"\ufffdx"'),
        ("\\u0000", '"\\\\u0000"'),
        (float("nan"), '"NaN"'),
        ([float("inf"), float("-inf"), None], '["Infinity","-Infinity",null]'),
        (2**63, "9223372036854775808"),
        (10**300, "1" + "0" * 300),
        ({"t": (1, 2)}, '{"t":[1,2]}'),
        ({"d": Decimal("1.10")}, '{"d":"1.10"}'),
        ({"b": b"\xffa"}, '{"b":"\ufffda"}'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (datetime.date(2024, 1, 31), '"2024-01-31"'),
        ([datetime.datetime(2024, 1, 31, 9, tzinfo=datetime.UTC), Decimal(1)], '["2024-01-31T09:00:00+00:00","1"]'),
    ],
)
def test_values_become_text_that_json_and_jsonb_know(value: Any, text: str) -> None:
    written = dumps(value)

    json.loads(written)
    assert written == text


def test_keys_of_other_types_become_text() -> None:
    assert dumps({2: "a", None: "b", 1.5: "d"}) == '{"2":"a","null":"b","1.5":"d"}'
    assert dumps({True: "c"}) == '{"true":"c"}'


def test_an_integer_of_over_a_thousand_digits_becomes_text() -> None:
    assert json.loads(dumps(10**5000)) == hex(10**5000)


@pytest.mark.parametrize(("depth", "kept"), [(MOST_DEPTH, True), (MOST_DEPTH + 1, False), (100_000, False)])
def test_what_lies_too_deep_is_cut(depth: int, kept: bool) -> None:
    read = json.loads(dumps(nested(depth)))

    assert depth_of(read) == MOST_DEPTH
    assert (CUT_DEPTH in dumps(nested(depth))) == (not kept)


def test_what_contains_itself_is_cut() -> None:
    loop: list[Any] = [1]
    loop.append(loop)

    assert json.loads(dumps(loop)) == [1, CIRCULAR]


def test_an_object_whose_text_fails_is_named() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError

    assert dumps([Hostile()]) == '["[Hostile]"]'


@given(wild)
def test_the_text_is_json_and_the_same_again(value: Any) -> None:
    text = dumps(value)

    assert dumps(json.loads(text)) == text
    assert "\0" not in text and "\ud800" not in text


@given(wild)
def test_the_text_holds_nothing_that_a_request_could_not_bring(value: Any) -> None:
    problems = check_strict(json.loads(dumps(value)), path="value")

    assert [problem for problem in problems if "64 bits" not in problem.message] == []


@pytest.mark.django_db
@given(st.lists(wild, max_size=30))
def test_postgresql_takes_the_text(values: list[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(x::jsonb) FROM unnest(%s::text[]) AS x", [[dumps(value) for value in values]])
        assert cursor.fetchone() == (len(values),)


# -- loads --


def test_integers_of_strangers_stay_exact() -> None:
    assert loads_untrusted(b'{"id": 123456789012345678901234567890}') == {"id": 123456789012345678901234567890}


def test_a_float_beyond_all_bounds_is_infinite() -> None:
    assert loads_untrusted(b"1e400") == math.inf


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\xfd", b"9" * 5000, b"[" * 100_000 + b"]" * 100_000, b"{'a':1}"])
def test_what_cannot_be_read_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whichever: the caller keeps the text
        loads_untrusted(data)


@given(st.binary() | st.text())
def test_nothing_but_a_value_error_comes_of_any_bytes(data: bytes | str) -> None:
    try:
        value = loads_untrusted(data)
    except ValueError:
        return

    json.loads(dumps(value))


# -- requests --


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (float("nan"), "params"),
        ({"a": float("inf")}, "params.a"),
        ({"a": [0, 2**63]}, "params.a[1]"),
        ({"a": [-(2**63) - 1]}, "params.a[0]"),
        ({"a": {"b": "x\0"}}, "params.a.b"),
        ({"a": {"b": "\udc00"}}, "params.a.b"),
        ({"a\0": 1}, "params.a\ufffd"),
        ({"a": object()}, "params.a"),
        ({1: 1}, "params[1]"),
        (nested(51), "params" + "[0]" * 50),
    ],
)
def test_what_a_request_must_not_bring_is_told_with_its_place(value: Any, path: str) -> None:
    assert [problem.path for problem in check_strict(value, path="params")] == [path]


@pytest.mark.parametrize(
    "value",
    [None, {}, {"a": [2**63 - 1, -(2**63), 1e308, "a\r\n\t", True, None]}, nested(50), nested(49, core={})],
)
def test_ordinary_values_are_right(value: Any) -> None:
    assert check_strict(value, path="params") == []


def test_a_hundred_faults_are_told_and_the_others_counted() -> None:
    problems = check_strict([2**64] * 1000, path="params")

    assert len(problems) == 101
    assert problems[-1].message == "and 900 more problems"


# -- logs --


@pytest.mark.parametrize(
    "key",
    [
        "Authorization",
        "password",
        "X-Api-Key",
        "api_key",
        "apiKey",
        "Set-Cookie",
        "client_secret",
        "ACCESS_TOKEN",
    ],
)
def test_secrets_are_masked_by_their_key_at_any_depth(key: str) -> None:
    assert mask({"a": [{key: {"deep": "hunter2"}}], "b": 1}) == {"a": [{key: MASKED}], "b": 1}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://h/p?token=abc&x=1", "http://h/p?token=***&x=1"),
        ("http://h/p?x=1&api_key=abc#f", "http://h/p?x=1&api_key=***#f"),
        ("postgres://me:pw@host/db", "postgres://***@host/db"),
        ("a = b, c@d", "a = b, c@d"),
    ],
)
def test_secrets_in_urls_are_masked(text: str, masked: str) -> None:
    assert mask({"url": text}) == {"url": masked}


def test_masking_takes_a_deep_value() -> None:
    assert depth_of(mask(nested(100_000))) == MOST_DEPTH


def test_small_values_are_not_cut() -> None:
    value = {"a": ["x" * 10, 1, None, {"b": 1.5}]}

    assert capped(value, limit=1000) == value


def test_a_long_text_is_cut_with_its_length() -> None:
    assert capped("x" * 5000, limit=10) == "x" * 10 + "… [cut: 5000 in all]"
    assert capped(b"y" * 5000, limit=10) == "y" * 10 + "… [cut: 5000 in all]"


def test_many_members_are_cut_with_their_number() -> None:
    assert capped(list(range(10_000)), limit=20) == [0, 1, 2, "[cut: 10000 members, 3 kept]"]


@given(wild, st.integers(0, 200))
def test_what_is_capped_is_short(value: Any, limit: int) -> None:
    # Each list or object that the budget reaches may add one marker, none of them can be beyond it.
    assert len(json.dumps(capped(json.loads(dumps(value)), limit=limit))) < limit * 40 + 5000


json_texts = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        ["PassWord", "pa\u017f\u017fword", "to\u212aen", "api_key", "a@b", "http://h/?token=1", "\u0130"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5)
            | st.sampled_from(
                ["PassWord", "pa\u017f\u017fword", "to\u212aen", "API-Key", "aUthor\u0131zation", "cookie"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(json_texts, st.booleans())
def test_the_short_way_to_a_log_entry_hides_what_the_long_way_hides(value: Any, is_escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_escaped).encode()

    assert repr(for_log(value, text=text, limit=100_000)) == repr(mask(value))


@pytest.mark.parametrize("text", [b'{"p\\u0061ssword": "hunter2"}', b'{"Password": "hunter2"}'])
def test_an_escape_does_not_hide_a_key_from_the_log(text: bytes) -> None:
    assert "hunter2" not in str(for_log(json.loads(text), text=text, limit=1_000))


# -- to and from services --


@given(wild)
def test_a_body_means_what_python_writes(value: Any) -> None:
    plain = json.dumps(value, ensure_ascii=False).encode("utf-8", errors="replace")

    assert repr(json.loads(body_of(value))) == repr(json.loads(plain))


def test_a_body_is_compact_and_refuses_what_json_does_not_know() -> None:
    assert body_of({"a": [1, None, "扣"]}) == '{"a":[1,null,"扣"]}'.encode()
    with pytest.raises(TypeError):
        body_of({"a": object()})


@given(wild, st.booleans())
def test_what_is_read_is_what_python_reads(value: Any, is_escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_escaped).encode("utf-8", errors="surrogatepass")

    assert repr(loads_untrusted(text)) == repr(json.loads(text))


@pytest.mark.parametrize(
    "text",
    [b"-0", b"-0.0", b"1e400", b"-1e400", b"1E5", b"18446744073709551616", b"-9223372036854775809", b"0.1e-400", b"NaN"]
    + [b"12345678901234567890.5", b'"\\ud800"', b'{"a":1,"a":2}', b"\xef\xbb\xbf1", '"扣"'.encode("utf-16"), b" 1 "]
    + [b"123456789012345678", b"1234567890123456789", b"-0e0", b"5e-324", b"1.7976931348623157e308", b"1e19", b"-1E19"],
)
def test_numbers_and_texts_are_read_exactly(text: bytes) -> None:
    assert repr(loads_untrusted(text)) == repr(json.loads(text))
