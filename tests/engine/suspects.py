"""An executor that does what its configuration says, however bad; light, since child processes import it."""

from __future__ import annotations

import asyncio
import datetime
import os
import re
import resource
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from dist_task.errors import ExecutionError, InvalidRequest
from dist_task.executors.base import Result, TaskCall


class SuspectExecutor:
    kind: ClassVar[str] = "suspect"

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        return []

    def target(self, config: Mapping[str, Any]) -> str:
        return ""

    async def execute(self, call: TaskCall) -> Result:
        if path := call.config.get("note"):
            note(path)
        return Result(await DEEDS[call.config["do"]](call))

    async def close(self) -> None:
        return None


class BlockingSuspectExecutor(SuspectExecutor):
    kind: ClassVar[str] = "blocking"

    def execute(self, call: TaskCall) -> Result:  # type: ignore[override]  # the other sort of executor
        return Result({"thread": threading.current_thread() is threading.main_thread(), "call": call.task_id})


class BrokenExecutor(SuspectExecutor):
    kind: ClassVar[str] = "broken"

    def __init__(self) -> None:
        if os.environ.get("BROKEN_EXECUTOR"):
            raise RuntimeError("this one cannot be made")


DEEDS: dict[str, Callable[[TaskCall], Any]] = {}


def deed(function: Callable[[TaskCall], Any]) -> Callable[[TaskCall], Any]:
    DEEDS[function.__name__] = function
    return function


def note(path: str) -> None:
    """Tells the test who we are; complete as soon as it is there."""
    draft = Path(f"{path}.draft")
    draft.write_text(str(os.getpid()))
    draft.rename(path)


@deed
async def work(call: TaskCall) -> Any:
    await asyncio.sleep(call.config.get("seconds", 0))
    return {"pid": os.getpid(), "input": dict(call.input)}


@deed
async def tell_call(call: TaskCall) -> Any:
    names = ("instance_id", "task_id", "op", "item", "attempt", "config", "input", "timeout_seconds")
    return {name: getattr(call, name) for name in names}


@deed
async def give_oddities(call: TaskCall) -> Any:
    return oddities()


def oddities() -> dict[str, Any]:
    deep: list[Any] = []
    for _level in range(500):
        deep = [deep]
    return {
        "big": 2**80,
        "nan": float("nan"),
        "bytes": b"\xff\x00",
        "at": datetime.datetime(2024, 5, 6, tzinfo=datetime.UTC),
        "id": uuid.UUID(int=7),
        "nul": "a\0b\ud800",
        "set": {1},
        "deep": deep,
        7: "key",
    }


@deed
async def give_megabytes(call: TaskCall) -> Any:
    return "x" * (call.config["megabytes"] * 1_000_000)


@deed
async def give_no_result(call: TaskCall) -> Any:
    return Unspeakable()


class Unspeakable(Mapping[str, Any]):
    def __iter__(self) -> Any:
        raise RuntimeError("nobody may look")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)


@deed
async def fail(call: TaskCall) -> Any:
    raise ExecutionError(
        "no \0 money",
        code="BROKE",
        permanent=True,
        unknown=True,
        retry_after_seconds=2.5,
        request={"a": 1},
        response={"b": [2]},
    )


@deed
async def fail_with(call: TaskCall) -> Any:
    errors = {
        "value": ValueError("wrong"),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
        "cancelled": asyncio.CancelledError(),
        "refused": InvalidRequest("give an amount"),
        "timeout": TimeoutError(),
        "memory": MemoryError("all of it"),
    }
    raise errors[call.config["error"]]


@deed
async def segfault(call: TaskCall) -> Any:
    os.kill(os.getpid(), signal.SIGSEGV)


@deed
async def kill_itself(call: TaskCall) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


@deed
async def abort(call: TaskCall) -> Any:
    os.abort()


@deed
async def leave(call: TaskCall) -> Any:
    os._exit(7)


@deed
async def exit_elsewhere(call: TaskCall) -> Any:
    asyncio.get_running_loop().call_soon(sys.exit, 5)
    await asyncio.sleep(60)


@deed
async def wait_for_ever(call: TaskCall) -> Any:
    await asyncio.sleep(600)


@deed
async def block_for_ever(call: TaskCall) -> Any:
    time.sleep(600)


@deed
async def hold_the_gil(call: TaskCall) -> Any:
    re.match(r"(a+)+$", "a" * 60 + "b")


@deed
async def stop_itself(call: TaskCall) -> Any:
    os.kill(os.getpid(), signal.SIGSTOP)


@deed
async def eat_memory(call: TaskCall) -> Any:
    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
    return len(bytearray(2**31))


@deed
async def tell_oom_score(call: TaskCall) -> Any:
    return int(Path("/proc/self/oom_score_adj").read_text())


@deed
async def flood(call: TaskCall) -> Any:
    for _line in range(20_000):
        print("flood" * 10)  # noqa: T201  # what this is about
    os.write(1, b"past Python\n")
    return "dry"


@deed
async def read_input(call: TaskCall) -> Any:
    return sys.stdin.read() + os.read(0, 10).decode()


@deed
async def close_everything(call: TaskCall) -> Any:
    os.closerange(3, 256)
    time.sleep(600)


@deed
async def talk_on_the_wire(call: TaskCall) -> Any:
    for number in range(3, 64):
        try:
            os.write(number, b"garbage that is not for you, in the place of a frame")
        except OSError:
            continue
    time.sleep(600)


@deed
async def fork_and_die(call: TaskCall) -> Any:
    if os.fork() == 0:
        note(call.config["heir"])
        time.sleep(600)
    while not Path(call.config["heir"]).exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGSEGV)


@deed
async def kill_later(call: TaskCall) -> Any:
    threading.Timer(0.5, os._exit, (9,)).start()
    return os.getpid()


@deed
async def leave_a_thread(call: TaskCall) -> Any:
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
