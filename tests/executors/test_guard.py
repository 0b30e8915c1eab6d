"""The guard kills the process groups of a worker that is gone, or says nothing any more."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dist_task.executors.guard import PROGRAM, Guard
from tests.engine.worker import wait_for


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """The leader of a group, with somebody else in it."""
    process = subprocess.Popen(["sh", "-c", "sleep 600 & exec sleep 600"], start_new_session=True)
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def guard_process(*, seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-I", "-S", str(PROGRAM), str(seconds)], stdin=subprocess.PIPE)


def is_ignored(number: signal.Signals, *, by: int) -> bool:
    status = Path(f"/proc/{by}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(mask.split()[1], 16) >> number - 1 & 1)


def say(guard: subprocess.Popen[bytes], text: bytes) -> None:
    assert guard.stdin is not None
    guard.stdin.write(text)
    guard.stdin.flush()


def test_silence_ends_what_is_watched(victim: subprocess.Popen[bytes]) -> None:
    with guard_process(seconds=0.3) as guard:
        say(guard, f"+{victim.pid}\n".encode())
        assert victim.wait(30) == -signal.SIGKILL
        assert guard.wait(30) == 0


def test_the_end_of_its_input_ends_it_at_once_and_a_signal_does_not(victim: subprocess.Popen[bytes]) -> None:
    with guard_process(seconds=600.0) as guard:
        say(guard, f"+{victim.pid}\n".encode())
        wait_for(lambda: is_ignored(signal.SIGTERM, by=guard.pid))
        guard.send_signal(signal.SIGTERM)
        say(guard, b"\n")
        assert guard.stdin is not None
        guard.stdin.close()
        assert victim.wait(30) == -signal.SIGKILL


def test_what_it_was_told_to_forget_is_left_alone(victim: subprocess.Popen[bytes]) -> None:
    with guard_process(seconds=600.0) as guard:
        say(guard, f"+{victim.pid}\n-{victim.pid}\n".encode())
    assert victim.poll() is None


def test_one_that_died_is_replaced_by_one_that_knows_all(victim: subprocess.Popen[bytes], settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "LEASE_SECONDS": 2.0}

    async def scenario() -> tuple[int, int]:
        guard = Guard()
        guard.watch(victim.pid)
        first = guard.pid
        os.kill(first, signal.SIGKILL)
        await asyncio.to_thread(wait_for, lambda: guard.pid not in (0, first))
        second = guard.pid
        guard.close()
        return first, second

    first, second = asyncio.run(scenario())

    assert first != second
    assert victim.wait(30) == -signal.SIGKILL


def test_a_worker_that_is_heard_keeps_what_it_has(victim: subprocess.Popen[bytes], settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "LEASE_SECONDS": 1.0}

    async def scenario() -> None:
        guard = Guard()
        guard.watch(victim.pid)
        await asyncio.sleep(2.0)  # two leases
        guard.forget(victim.pid)
        guard.close()

    asyncio.run(scenario())

    assert victim.poll() is None


def test_where_no_guard_can_be_had_the_work_goes_on(
    victim: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    async def scenario() -> int:
        guard = Guard()
        guard.watch(victim.pid)
        guard.close()
        return guard.pid

    assert asyncio.run(scenario()) == 0
    assert victim.poll() is None
