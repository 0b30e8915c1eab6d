"""Who calls is read from the headers that the service sends."""

from __future__ import annotations

from email.message import Message

import pytest
from django.http.request import HttpHeaders

from dist_task.barrier import Call, InvalidCall, call_of
from dist_task.executors.base import TaskCall

HEADERS = {"X-Dist-Task-Instance": "order_1", "X-Dist-Task-Task": "pay", "X-Dist-Task-Op": "action"}


def sent(instance_id: str, *, op: str = "action") -> dict[str, str]:
    call = TaskCall(instance_id, "pay", op=op, item=-1, attempt=3, config={}, input={}, timeout_seconds=1.0)
    return call.headers


@pytest.mark.parametrize("op", ["action", "compensate"])
def test_what_is_sent_is_understood(op: str) -> None:
    assert call_of(sent("order_1", op=op)) == Call("order_1", "pay", op=op)


@pytest.mark.parametrize("instance_id", ["订单_1", "ordér", "x" * 64])
def test_an_instance_id_is_as_it_was_sent_however_the_framework_decodes_it(instance_id: str) -> None:
    headers = sent(instance_id)
    as_latin = {name: value.encode().decode("latin-1") for name, value in headers.items()}

    assert call_of(headers).instance_id == call_of(as_latin).instance_id == instance_id


def test_names_of_headers_have_no_case() -> None:
    assert call_of({name.lower(): value for name, value in HEADERS.items()}) == call_of(HEADERS)


def test_headers_of_frameworks_are_taken() -> None:
    message = Message()
    for name, value in HEADERS.items():
        message[name] = value
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HEADERS.items()}

    assert call_of(message) == call_of(HttpHeaders(environ)) == call_of(HEADERS)


@pytest.mark.parametrize(("item", "expected"), [("0", 0), ("17", 17)])
def test_items_are_told_apart(item: str, expected: int) -> None:
    call = call_of({**HEADERS, "X-Dist-Task-Item": item})

    assert (call.item, call.branch_id) == (expected, f"pay/{expected}")


@pytest.mark.parametrize("missing", HEADERS)
def test_a_missing_header_is_named(missing: str) -> None:
    with pytest.raises(InvalidCall, match=missing):
        call_of({name: value for name, value in HEADERS.items() if name != missing})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Dist-Task-Instance", ""),
        ("X-Dist-Task-Instance", "x" * 65),
        ("X-Dist-Task-Instance", "order 1"),
        ("X-Dist-Task-Instance", "order\udc80"),
        ("X-Dist-Task-Task", "pay/1"),
        ("X-Dist-Task-Task", "x" * 65),
        ("X-Dist-Task-Op", "try"),
        ("X-Dist-Task-Item", "-1"),
        ("X-Dist-Task-Item", "1.0"),
        ("X-Dist-Task-Item", "٣"),
        ("X-Dist-Task-Item", ""),
    ],
)
def test_what_is_malformed_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidCall):
        call_of({**HEADERS, name: value})
