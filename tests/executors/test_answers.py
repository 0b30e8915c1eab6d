"""What a service may answer, and what comes of it."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest

from dist_task.executors.connection import MOST_HEAD_BYTES

from .conftest import OK, Run, call, failure, verdict
from .raw_service import keeps_saying, says, serving

JSON = b'{"ok":true}'
LOST = ("CONNECTION_LOST", True, False)
BAD = ("BAD_RESPONSE", True, False)
TOO_LARGE = ("RESPONSE_TOO_LARGE", True, True)


def answer(body: bytes = JSON, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"\r\n".join((b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *lines))
    return head + b"\r\n\r\n" + body


def zipped(text: bytes) -> bytes:
    """Without the time of day: tests are named by what they are given, the same in each process."""
    return gzip.compress(text, mtime=0)


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (answer(), 200, {"ok": True}),
        (answer(b"", status=b"201 Created"), 201, None),
        (b"HTTP/1.1 200\r\ncontent-length:11\r\n\r\n" + JSON, 200, {"ok": True}),
        (b"HTTP/1.1 200 OK\r\n\r\n" + JSON, 200, {"ok": True}),
        (b"HTTP/1.0 200 OK\r\n\r\n" + JSON, 200, {"ok": True}),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\n" + JSON, 200, {"ok": True}),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(), 200, {"ok": True}),
        (b"HTTP/1.1 103 Early Hints\r\nContent-Type: text/css\r\n\r\n" * 3 + answer(), 200, {"ok": True}),
        (
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n{"ok"\r\n6\r\n:true}\r\n0\r\nA: b\r\n\r\n',
            200,
            {"ok": True},
        ),
        (answer(zipped(JSON), b"Content-Encoding: gzip"), 200, {"ok": True}),
        (answer(zipped(JSON[:4]) + zipped(JSON[4:]), b"Content-Encoding: X-GZIP"), 200, {"ok": True}),
        (answer(zlib.compress(JSON), b"Content-Encoding: deflate"), 200, {"ok": True}),
        (answer(bare_deflate(JSON), b"Content-Encoding: deflate"), 200, {"ok": True}),
        (answer(JSON, b"Content-Encoding: identity"), 200, {"ok": True}),
        (answer(b"", b"Content-Encoding: gzip"), 200, None),
        (answer(b"done", b"Content-Type: text/plain"), 200, "done"),
        (answer(b"{", b"Content-Type: application/json"), 200, "{"),
        (answer(b"\xff", b"Content-Type: text/plain"), 200, "\ufffd"),
        (answer(JSON, b"X-Filler: " + b"x" * 60_000), 200, {"ok": True}),
    ],
)
def test_an_answer_is_understood(run: Run, raw: bytes, status: int, body: Any) -> None:
    async def scenario() -> Any:
        async with serving(says(raw)) as service:
            return (await call(service.url())).output

    output = run(scenario())

    assert (output["status"], output["body"]) == (status, body)


@pytest.mark.parametrize(
    "raw", [answer(), answer(zipped(JSON), b"Content-Encoding: gzip"), b"HTTP/1.1 100 Continue\r\n\r\n" + OK]
)
def test_an_answer_may_come_byte_by_byte(run: Run, raw: bytes) -> None:
    async def scenario() -> Any:
        async with serving(keeps_saying(*(raw[place : place + 1] for place in range(len(raw))))) as service:
            results = [await call(service.url()) for _time in range(3)]
            return [result.output["body"] for result in results]

    assert run(scenario()) == [{"ok": True}] * 3


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", LOST),
        (b"HTTP/1.1 200 OK\r\nContent-", LOST),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + JSON, LOST),
        (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"ok"\r\n', LOST),
        (b"HTTP/1.1 100 Continue\r\n\r\n", LOST),
        (b"SSH-2.0-OpenSSH_9.6\r\n", BAD),
        (b"\x00\x01\x02\x03" * 100, BAD),
        (b"HTTP/1.1 abc OK\r\n\r\n", BAD),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", BAD),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", BAD),
        (answer(JSON, b"Content-Length: 10"), BAD),
        (answer(JSON, b"Transfer-Encoding: chunked"), BAD),
        (answer(JSON, b"Bad Name: x"), BAD),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + JSON, BAD),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", BAD),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n" + JSON, BAD),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", BAD),
        (answer(JSON, b"Content-Encoding: br"), BAD),
        (answer(JSON, b"Content-Encoding: gzip"), BAD),
        (answer(zipped(JSON)[:-9], b"Content-Encoding: gzip"), BAD),
        (answer(zlib.compress(JSON) + b"more", b"Content-Encoding: deflate"), BAD),
        (answer(JSON, *(b"X-%d: x" % number for number in range(300))), BAD),
        (answer(JSON, *(b"X-%d: " % number + b"x" * 1_000 for number in range(70))), BAD),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 1048577\r\n\r\n", TOO_LARGE),
    ],
)
def test_an_answer_that_is_none_leaves_the_outcome_unknown(
    run: Run, raw: bytes, expected: tuple[str, bool, bool]
) -> None:
    async def scenario() -> Any:
        async with serving(says(raw)) as service:
            return await failure(service.url()), len(service.requests)

    error, requests = run(scenario())

    assert verdict(error) == expected
    assert requests == 1


@pytest.mark.parametrize(
    "begin",
    [
        b"HTTP/1.1 200 OK\r\nX-Endless: ",
        b"HTTP/1.1 ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ",
    ],
)
def test_a_head_or_a_trailer_without_an_end_is_not_read_for_ever(run: Run, begin: bytes) -> None:
    async def scenario() -> Any:
        async with serving(says(begin, *[b"x" * 8_192] * (MOST_HEAD_BYTES // 8_192 + 2), hangs=True)) as service:
            error = await failure(service.url())
            await service.ends.wait()
            return error

    assert verdict(run(scenario())) == BAD


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_048_577,
        answer(zipped(bytes(50_000_000)), b"Content-Encoding: gzip"),
        answer(zipped(bytes(1_000_000)) * 2, b"Content-Encoding: gzip"),
    ],
)
def test_a_success_that_is_too_large_is_one_without_its_body(run: Run, raw: bytes) -> None:
    async def scenario() -> Any:
        async with serving(says(raw)) as service:
            return await call(service.url()), len(service.requests)

    result, requests = run(scenario())

    assert result.output["status"] == 200
    assert result.output["body"] == result.response["body"] == "[cut: larger than 1048576 bytes]"
    assert result.note == "the body is larger than 1048576 bytes, and was not kept"
    assert requests == 1


@pytest.mark.parametrize("config", [{"ok_when": "body.ok"}, {"result_protocol": "envelope"}])
def test_where_the_body_says_what_became_of_the_work_nobody_knows(run: Run, config: dict[str, str]) -> None:
    async def scenario() -> Any:
        async with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n")) as service:
            return await failure(service.url(), **config)

    assert verdict(run(scenario())) == TOO_LARGE


def test_a_body_without_an_end_is_read_up_to_the_cap_and_the_connection_closed(run: Run) -> None:
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"

    async def scenario() -> Any:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        async with serving(says(head, *[chunk] * 40, hangs=True)) as service:
            return await call(service.url())

    assert run(scenario()).note == "the body is larger than 1048576 bytes, and was not kept"


def test_a_redirect_is_an_answer_and_nobody_follows_it(run: Run) -> None:
    async def scenario() -> Any:
        async with serving(says(answer(b"", b"Location: /elsewhere", status=b"302 Found"))) as service:
            return await failure(service.url()), service.requests

    error, requests = run(scenario())

    assert verdict(error) == ("HTTP_302", False, True)
    assert error.response["headers"] == {"Location": "/elsewhere"}
    assert len(requests) == 1


def test_of_a_304_no_body_is_expected(run: Run) -> None:
    async def scenario() -> Any:
        raw = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"
        async with serving(keeps_saying(raw)) as service:
            return verdict(await failure(service.url())), verdict(await failure(service.url())), service.connections

    assert run(scenario()) == (("HTTP_304", False, True), ("HTTP_304", False, True), 1)


def test_headers_that_are_kept_are_read_whatever_their_case(run: Run) -> None:
    async def scenario() -> Any:
        lines = (b"etag:  abc ", b"X-REQUEST-ID: r1", b"X-Request-Id: r2", "location: /扣".encode())
        async with serving(says(answer(JSON, *lines))) as service:
            return (await call(service.url())).output["headers"]

    assert run(scenario()) == {"ETag": "abc", "X-Request-Id": "r1", "Location": "/扣"}
