"""A module of tasks, as a deployment has one: each function does what it is called."""

from __future__ import annotations

import asyncio
import ctypes
import datetime
import decimal
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from dist_task import Call, ExecutionError, task


@task("add")
def add(a: int, b: int = 1) -> int:
    return a + b


@task("where")
def where() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "is_main_thread": threading.current_thread() is threading.main_thread(),
    }


@task("where_async")
async def where_async() -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"pid": os.getpid(), "ran_elsewhere": await asyncio.to_thread(threading.get_ident) != threading.get_ident()}


@task("in_thread", threads=True)
def in_thread(note: str = "") -> dict[str, Any]:
    return {"pid": os.getpid(), "thread": threading.current_thread().name}


@task("on_loop", on_loop=True)
async def on_loop(pause: float = 0.0) -> int:
    await asyncio.sleep(pause)
    return os.getpid()


@task("typed")
def typed(
    text: str,
    at: datetime.datetime,
    price: decimal.Decimal,
    tags: list[str],
    more: dict[str, Any],
    ratio: float = 0.5,
    note: str | None = None,
) -> list[str]:
    return [repr(value) for value in (text, at, price, tags, more, ratio, note)]


@task("declared", inputs={"amount": "int64", "user": {"type": "string", "default": "nobody"}, "more": "[]int"})
def declared(amount, user, more=(), **others):  # type: ignore[no-untyped-def]
    return [amount, user, more, others]


@task("tell")
def tell(call: Call) -> dict[str, Any]:
    names = ("instance_id", "task_id", "op", "item", "attempt", "idempotency_key")
    told = {name: getattr(call, name) for name in names}
    return {**told, "headers": dict(call.headers), "seconds_left": call.seconds_left, "zone": str(call.deadline.tzinfo)}


@task("say_secret")
def say_secret(word: str) -> str:
    return f"it was {word}"


# What comes back.


@task("odd")
def odd() -> dict[str, Any]:
    return {
        "at": datetime.datetime(2024, 5, 6, tzinfo=datetime.UTC),
        "price": decimal.Decimal("12.30"),
        "id": uuid.UUID(int=7),
        "nan": float("nan"),
        "nul": "a\0b\ud800",
        "object": Opaque(),
    }


class Opaque:
    def __str__(self) -> str:
        return "opaque"


class Unspeakable(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("nobody may look")


@task("unspeakable")
def unspeakable() -> Any:
    return Unspeakable({1: 2})


@task("huge")
def huge(megabytes: float) -> str:
    return "x" * int(megabytes * 1_000_000)


@task("noisy")
def noisy() -> str:
    for _line in range(20_000):
        print("noise" * 10)  # noqa: T201  # what this is about
    os.write(1, b"past Python\n")
    subprocess.run(["echo", "of a child"], check=True)
    return "heard" + sys.stdin.read()


# What goes wrong.


class OutOfStock(Exception):
    """The function's own error."""


@task("fail")
def fail(how: str) -> None:
    errors: dict[str, BaseException] = {
        "own": OutOfStock("no \0 more of it"),
        "exit": SystemExit(3),
        "time": TimeoutError("the shop is slow"),
        "named": ExecutionError("no money", code="NO_MONEY", permanent=True),
        "bare": ExecutionError("not now"),
        "unknown": ExecutionError("who knows", code="WHO_KNOWS", unknown=True),
    }
    raise errors[how]


@task("die")
def die(how: str) -> None:
    if how == "exit":
        os._exit(7)
    if how == "segfault":
        ctypes.string_at(0)
    os.kill(os.getpid(), 9)


@task("hang")
def hang(how: str, path: str) -> None:
    """Tells who it is first."""
    note(path)
    if how == "block":
        time.sleep(600)
    elif how == "hold":
        re.match(r"(a+)+$", "a" * 60 + "b")
    elif how == "ignore":
        while True:
            try:
                time.sleep(600)
            except BaseException:  # noqa: BLE001, S112  # on purpose
                continue
    elif how == "start":
        subprocess.run([sys.executable, "-c", f"import tests.executors.functions as f; f.rest({path!r})"], check=True)
    elif how == "fork":
        if os.fork() == 0:
            note(f"{path}.heir")
        time.sleep(600)


@task("hang_async")
async def hang_async(path: str) -> None:
    note(path)
    await asyncio.sleep(600)


def rest(path: str) -> None:
    note(f"{path}.heir")
    time.sleep(600)


def note(path: str) -> None:
    """Complete as soon as it is there."""
    draft = Path(f"{path}.{os.getpid()}.draft")
    draft.write_text(str(os.getpid()))
    draft.rename(path)


@task("guarded")
def guarded(call: Call, path: str, seconds: float) -> str:
    """A ledger that shows who met whom: the mark of an attempt that is at it still says so."""
    line = "met another" if Path(f"{path}.inside").exists() and is_alive(Path(f"{path}.inside")) else "alone"
    with Path(path).open("a") as ledger:
        ledger.write(f"{call.attempt} {line}\n")
    note(f"{path}.inside")
    ends_at = time.monotonic() + (600.0 if call.attempt == 1 else seconds)
    while time.monotonic() < ends_at:
        time.sleep(0.005)
    return f"attempt {call.attempt}"


def is_alive(path: Path) -> bool:
    try:
        state = Path(f"/proc/{path.read_text()}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


@task("undo")
def undo(call: Call, output: Any, path: str) -> str:
    with Path(path).open("a") as ledger:
        ledger.write(f"{call.op} of {output}\n")
    return "undone"


# The database.


@task("count_flows")
def count_flows() -> list[int]:
    from django.db import connection

    from flows.models import Flow

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return [Flow.objects.count(), cursor.fetchone()[0], os.getpid()]


@task("count_flows_async")
async def count_flows_async() -> list[int]:
    from flows.models import Flow

    return [await Flow.objects.acount(), os.getpid()]


@task("leave_open")
def leave_open() -> int:
    from django.db import transaction

    transaction.atomic().__enter__()
    return os.getpid()


@task("leave_thread")
def leave_thread() -> int:
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    return os.getpid()


@task("only_one", at_once=1)
def only_one() -> None:
    """For its cap."""
