"""When a connection is made, kept, replaced and closed; nothing is ever sent twice."""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dist_task.errors import ExecutionError
from dist_task.executors import pool
from dist_task.executors.outbound import OUTBOUND

from .conftest import OK, Run, call, failure, verdict
from .raw_service import RawService, Talk, keeps_saying, says, serving

LOST = ("CONNECTION_LOST", True, False)
TIMEOUT = ("TIMEOUT", True, False)
CONNECT_TIMEOUT = ("CONNECT_TIMEOUT", False, False)
REFUSED = ("CONNECTION_REFUSED", False, False)


async def connections_of_three_calls(answer: bytes) -> int:
    async with serving(keeps_saying(answer)) as service:
        for _time in range(3):
            await call(service.url())
        return service.connections


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (OK, 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 1),
        (OK.replace(b"HTTP/1.1", b"HTTP/1.0"), 3),
        (OK.replace(b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK\r\nConnection: keep-alive"), 1),
        (OK.replace(b"200 OK", b"200 OK\r\nConnection: close"), 3),
        (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 3),
        (OK + b"x", 3),
        (OK + b"HTT", 3),
    ],
)
def test_a_connection_is_used_again_only_after_a_clean_answer(run: Run, answer: bytes, connections: int) -> None:
    assert run(connections_of_three_calls(answer)) == connections


def test_what_comes_between_two_calls_is_never_taken_for_an_answer(run: Run) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(OK)
        await asyncio.sleep(0.05)
        await talk.say(b"HTTP/1.1 500 Planted\r\nContent-Length: 0\r\n\r\n")
        await talk.see_end()

    async def scenario() -> Any:
        async with serving(script) as service:
            await call(service.url())
            await service.ends.wait()
            second = await call(service.url())
            return second.output["status"], service.connections

    assert run(scenario()) == (200, 2)


def test_a_kept_connection_that_the_service_closed_is_replaced_before_anything_is_sent(run: Run) -> None:
    async def scenario() -> RawService:
        async with serving(says(OK)) as service:
            for _time in range(20):
                await call(service.url())
            return service

    service = run(scenario())

    assert (service.connections, len(service.requests)) == (20, 20)


def test_a_loss_after_sending_began_is_unknown_and_nothing_is_sent_again(run: Run) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(OK)
        await talk.request()

    async def scenario() -> Any:
        async with serving(script) as service:
            await call(service.url(), method="GET")
            return await failure(service.url(), method="GET"), service

    error, service = run(scenario())

    assert verdict(error) == LOST
    assert (service.connections, len(service.requests)) == (1, 2)


def test_a_reset_is_unknown(run: Run) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\n\r\n{")
        raw = talk.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await asyncio.sleep(0.05)
        talk.writer.transport.abort()

    async def scenario() -> Any:
        async with serving(script) as service:
            return await failure(service.url())

    assert verdict(run(scenario())) == LOST


def test_an_idle_connection_is_closed_after_its_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "KEEPALIVE_SECONDS", 0.05)

    async def scenario() -> None:
        async with serving(keeps_saying(OK)) as service:
            await call(service.url())
            await service.ends.wait()

    run(scenario())


def test_an_early_answer_to_a_large_body_is_taken_and_the_connection_dropped(run: Run) -> None:
    async def script(talk: Talk) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await talk.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await talk.see_end()

    async def scenario() -> Any:
        async with serving(script) as service:
            error = await failure(service.url(), value={"text": "x" * 8_000_000})
            await service.ends.wait()
            return verdict(error)

    assert run(scenario()) == ("HTTP_413", False, True)


def test_a_body_of_a_megabyte_arrives_whole(run: Run) -> None:
    async def scenario() -> RawService:
        async with serving(keeps_saying(OK)) as service:
            for _time in range(2):
                await call(service.url(), value={"text": "扣" * 350_000})
            return service

    service = run(scenario())

    assert service.connections == 1
    assert [request.count("扣".encode()) for request in service.requests] == [350_000, 350_000]


def test_no_answer_within_the_deadline_is_unknown_and_closes_the_connection(run: Run) -> None:
    async def scenario() -> Any:
        async with serving(says(hangs=True)) as service:
            error = await failure(service.url(), seconds=0.3)
            await service.ends.wait()
            return error

    assert verdict(run(scenario())) == TIMEOUT


def test_a_dripping_body_is_cut_by_the_one_deadline(run: Run) -> None:
    async def drip(talk: Talk) -> None:
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await talk.say(b"x")
            await asyncio.sleep(0.02)

    async def scenario() -> Any:
        async with serving(drip) as service:
            return await failure(service.url(), seconds=0.4)

    assert verdict(run(scenario())) == TIMEOUT


def test_a_service_that_reads_nothing_is_given_up_on(run: Run) -> None:
    async def script(talk: Talk) -> None:
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
        await asyncio.sleep(30)

    async def scenario() -> Any:
        async with serving(script) as service:
            return await failure(service.url(), value={"text": "x" * 8_000_000}, seconds=0.5)

    assert verdict(run(scenario())) == TIMEOUT


def test_a_call_that_is_dropped_closes_its_connection(run: Run) -> None:
    async def scenario() -> int:
        async with serving(says(hangs=True)) as service:
            waiting = asyncio.create_task(call(service.url()))
            while not service.requests:
                await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await service.ends.wait()
            return len(service.requests)

    assert run(scenario()) == 1


def test_closing_ends_calls_in_progress_and_a_later_call_opens_anew(run: Run) -> None:
    async def scenario() -> Any:
        async with serving(says(hangs=True)) as hanging, serving(keeps_saying(OK)) as service:
            waiting = asyncio.create_task(failure(hanging.url()))
            while not hanging.requests:
                await asyncio.sleep(0.01)
            await OUTBOUND.close()
            error = await waiting
            return verdict(error), (await call(service.url())).output["status"]

    assert run(scenario()) == (LOST, 200)


def test_nobody_listening_is_not_an_execution(run: Run) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        error = run(failure(f"http://127.0.0.1:{port}/"))

    assert verdict(error) == REFUSED
    assert str(error) == f"no connection to 127.0.0.1:{port}: Connection refused"


@pytest.fixture
def deaf() -> Iterator[str]:
    """The URL of a service whose backlog is full: what is past it gets no answer to its SYN."""
    with ExitStack() as sockets:
        full = sockets.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _one in range(3):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}/"


def test_a_connection_that_takes_too_long_is_not_an_execution(run: Run, deaf: str) -> None:
    assert verdict(run(failure(deaf, seconds=0.5))) == CONNECT_TIMEOUT


def test_a_call_that_is_dropped_while_it_connects_leaves_nothing_open(run: Run, deaf: str) -> None:
    async def scenario() -> None:
        async with serving(keeps_saying(OK)) as service:
            await call(service.url())
        await OUTBOUND.close()
        await asyncio.sleep(0.05)
        before = open_files()
        for _time in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call(deaf), 0.05)
        while open_files() > before:
            await asyncio.sleep(0.01)

    run(scenario())


def test_many_calls_against_a_service_that_closes_at_random(run: Run) -> None:
    """Every call has an answer or an unknown outcome, none is sent twice, and no file descriptor is left."""
    chance = random.Random(7)

    async def fickle(talk: Talk) -> None:
        while await talk.request():
            await asyncio.sleep(chance.random() * 0.004)
            fate = chance.random()
            if fate < 0.02:
                return  # without an answer
            await talk.say(OK)
            if fate < 0.10:
                return  # without a word about it
            if fate < 0.15:
                await asyncio.sleep(0.002)
                return

    async def one(service: RawService, numbers: Any) -> list[tuple[int, str]]:
        seen = []
        for number in numbers:
            try:
                await call(service.url(), instance_id=f"order-{number}")
                seen.append((number, "done"))
            except ExecutionError as error:
                assert verdict(error) == LOST
                seen.append((number, "unknown"))
        return seen

    async def scenario() -> Any:
        async with serving(fickle) as service:
            before = open_files()
            numbers = iter(range(2_000))
            outcomes = await asyncio.gather(*(one(service, numbers) for _one in range(64)))
            await OUTBOUND.close()
            while open_files() > before:
                await asyncio.sleep(0.01)
            return dict(pair for part in outcomes for pair in part), service

    outcomes, service = run(scenario())
    sent = [int(found[1]) for request in service.requests if (found := re.search(rb"Instance: order-(\d+)", request))]

    assert sorted(outcomes) == list(range(2_000))
    assert len(sent) == len(set(sent)), "a request was sent twice"
    assert {number for number, outcome in outcomes.items() if outcome == "done"} <= set(sent)
    assert 0 < list(outcomes.values()).count("unknown") < 200
    assert service.connections < 1_000


def open_files() -> int:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("no /proc here")
    return len(os.listdir(folder))


def test_many_hosts_leave_no_connection_behind(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "KEEPALIVE_SECONDS", 0.2)

    async def scenario() -> None:
        async with serving(keeps_saying(OK), host="0.0.0.0", name="127.0.0.1") as service:
            await call(service.url())
            before = open_files()
            for last in range(2, 60):
                await call(service.url().replace("127.0.0.1", f"127.0.0.{last}"))
            while open_files() > before:
                await asyncio.sleep(0.01)
            assert service.connections == 59

    run(scenario())
