"""The verbs of the API."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from .answers import (
    AssignedException,
    CommentedException,
    ExceptionRecord,
    HandledException,
    MovedTransaction,
    PausedTransaction,
    RerunTransaction,
    ScheduledRetry,
    SettledException,
    Start,
    Started,
    Transaction,
    Value,
    read,
)
from .errors import ApiError, UnexpectedAnswer, api_error
from .wire import Request, Wire

MOST_WAIT_SECONDS = 30.0
MOST_STARTS = 1_000
PAGE_SIZE = 200


class Client:
    """Speaks to one service; threads may share it, and its connections are kept open.

    Starts and reads are repeated for `patience_seconds` when the connection is lost or the service is not there;
    nothing else is. `timeout_seconds` is how long one answer may keep silent. Every method raises ApiError for what
    the service refuses, Unreachable and UnexpectedAnswer where it did not answer.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        timeout_seconds: float = 10.0,
        patience_seconds: float = 30.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._wire = Wire(
            url, token=token, timeout_seconds=timeout_seconds, patience_seconds=patience_seconds, context=context
        )

    def start(self, instance_id: str, *, flow_id: str, params: Mapping[str, Any] | None = None) -> Started:
        """Starts a transaction, or answers the one that this very start has made; Conflict where it is another one."""
        body = _start_body(Start(instance_id, flow_id, params or {}))
        return self._read(Started, Request("POST", "/transactions", is_repeatable=True, body=body))

    def start_many(self, starts: Iterable[Start]) -> list[Started | ApiError]:
        """One outcome per start, in order: what a single start would have answered, or raised. 1,000 in a request."""
        remaining = iter(starts)
        outcomes: list[Started | ApiError] = []
        while some := list(islice(remaining, MOST_STARTS)):
            body = {"transactions": [_start_body(each) for each in some]}
            request = Request("POST", "/transactions/batch", is_repeatable=True, body=body)
            outcomes += [_outcome(each) for each in self._wire.data(request)["results"]]
        return outcomes

    def get(self, instance_id: str) -> Transaction:
        return self._get(instance_id, wait_seconds=0.0)

    def wait(self, instance_id: str, *, seconds: float) -> Transaction:
        """The transaction once it is final, or as it stands when the time is over: see its `is_final`."""
        ends_at = time.monotonic() + seconds
        while True:
            txn = self._get(instance_id, wait_seconds=ends_at - time.monotonic())
            if txn.is_final or time.monotonic() >= ends_at:
                return txn

    def follow(self, instance_id: str, *, every_seconds: float = 1.0) -> Iterator[Transaction]:
        """The transaction as it stands, and again after each change, looked for this often; ends with the final one."""
        seen: Transaction | None = None
        while seen is None or not seen.is_final:
            txn = self._get(instance_id, wait_seconds=every_seconds if seen else 0.0)
            if txn != seen:
                yield txn
            seen = txn

    def retry(self, instance_id: str, *, remark: str = "") -> MovedTransaction:
        """Retries all failed tasks of a failed transaction now."""
        return self._post(MovedTransaction, _path(instance_id, verb="retry"), {"remark": remark})

    def pause(self, instance_id: str, *, remark: str) -> PausedTransaction:
        """Nothing of it begins after this, nor of what it has started, until it is resumed."""
        return self._post(PausedTransaction, _path(instance_id, verb="pause"), {"remark": remark})

    def resume(self, instance_id: str, *, remark: str) -> PausedTransaction:
        return self._post(PausedTransaction, _path(instance_id, verb="resume"), {"remark": remark})

    def rerun(
        self,
        instance_id: str,
        *,
        remark: str,
        tasks: Sequence[str] = (),
        new_instance_id: str | None = None,
        force: bool = False,
    ) -> RerunTransaction:
        """Runs an ended transaction again, from these tasks on or in full, as a new one. `force`: also where tasks
        have done something, and will do it again under another Idempotency-Key."""
        body: dict[str, Any] = {"remark": remark, "tasks": list(tasks), "force": force}
        if new_instance_id is not None:
            body["instance_id"] = new_instance_id
        return self._post(RerunTransaction, _path(instance_id, verb="rerun"), body)

    def complete_wait(
        self, instance_id: str, task_id: str, *, remark: str, output: Any = None, item: int | None = None
    ) -> MovedTransaction:
        """Says in place of a service, for which a task waits, that it was done. `item`: of a task with `foreach`."""
        body = {"task_id": task_id, "remark": remark, "output": output}
        if item is not None:
            body["item"] = item
        return self._post(MovedTransaction, _path(instance_id, verb="complete"), body)

    def exceptions(
        self,
        *,
        handled: bool | None = None,
        status: str | None = None,
        instance_id: str | None = None,
        flow_id: str | None = None,
        flow_name: str | None = None,
        task: str | None = None,
    ) -> Iterator[ExceptionRecord]:
        """All that match, the newest first, asked for in pages while they are walked through."""
        filters = {
            "handled": None if handled is None else str(handled).lower(),
            "status": status,
            "instance_id": instance_id,
            "flow": flow_id,
            "flow_name": flow_name,
            "task": task,
        }
        query: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
        query["page_size"] = PAGE_SIZE
        while page := self._wire.data(Request("GET", "/exceptions", is_repeatable=True, query=query))["list"]:
            yield from (_read(ExceptionRecord, each) for each in page)
            if len(page) < PAGE_SIZE:
                return
            query["after"] = page[-1]["id"]

    def exception(self, exception_id: int) -> CommentedException:
        return self._read(CommentedException, Request("GET", f"/exceptions/{exception_id}", is_repeatable=True))

    def handle(self, exception_id: int, *, remark: str = "", resolution: str = "acknowledged") -> HandledException:
        """Marks an exception as handled; runs nothing. `resolution`: also fixed_externally, skipped, ignored."""
        body = {"remark": remark, "resolution": resolution}
        return self._post(HandledException, f"/exceptions/{exception_id}/handle", body)

    def retry_exception(
        self,
        exception_id: int,
        *,
        delay_seconds: float | None = None,
        at: datetime | None = None,
        input: Mapping[str, Any] | None = None,
        force: bool = False,
        remark: str = "",
    ) -> ScheduledRetry:
        """Schedules the task again after its interval, after `delay_seconds`, or `at` a time that has a zone.

        With `input` it is given that instead, under the same Idempotency-Key: for calls that were not done. `force`:
        also with no_retry, and an `input` where the task may have been executed.
        """
        given = {"delay": delay_seconds, "at": at and at.isoformat(), "input": None if input is None else dict(input)}
        body = {"force": force, "remark": remark, **{key: each for key, each in given.items() if each is not None}}
        return self._post(ScheduledRetry, f"/exceptions/{exception_id}/retry", body)

    def skip(self, exception_id: int, *, remark: str, output: Any = None, force: bool = False) -> SettledException:
        """The failed task is passed over, `output` is what it gave. `force`: also where it may have been executed."""
        body = {"remark": remark, "output": output, "force": force}
        return self._post(SettledException, f"/exceptions/{exception_id}/skip", body)

    def complete(self, exception_id: int, *, remark: str, output: Any = None, force: bool = False) -> SettledException:
        """Says that the task was done elsewhere and gave `output`. `force`: also where the exception was handled."""
        body = {"remark": remark, "output": output, "force": force}
        return self._post(SettledException, f"/exceptions/{exception_id}/complete", body)

    def assign(self, exception_id: int, assignee: str, *, remark: str, force: bool = False) -> AssignedException:
        """Says who looks after it; "" for nobody. `force`: also where that is somebody else."""
        body = {"assignee": assignee, "remark": remark, "force": force}
        return self._post(AssignedException, f"/exceptions/{exception_id}/assign", body)

    def comment(self, exception_id: int, remark: str) -> CommentedException:
        return self._post(CommentedException, f"/exceptions/{exception_id}/comment", {"remark": remark})

    def close(self) -> None:
        """Closes the connections that nobody uses now; the next request opens another."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _get(self, instance_id: str, *, wait_seconds: float) -> Transaction:
        seconds = min(max(wait_seconds, 0.0), MOST_WAIT_SECONDS)
        query = {"wait": f"{seconds:.3f}"} if seconds else {}
        request = Request("GET", _path(instance_id), is_repeatable=True, query=query, answer_seconds=seconds)
        return self._read(Transaction, request)

    def _post(self, kind: type[Value], path: str, body: Mapping[str, Any]) -> Value:
        """Sent once: a verb that was carried out is refused when it comes again."""
        return self._read(kind, Request("POST", path, is_repeatable=False, body=body))

    def _read(self, kind: type[Value], request: Request) -> Value:
        return _read(kind, self._wire.data(request))


def _path(instance_id: str, *, verb: str = "") -> str:
    path = f"/transactions/{quote(instance_id, safe='')}"
    return f"{path}/{verb}" if verb else path


def _start_body(start: Start) -> dict[str, Any]:
    return {"instance_id": start.instance_id, "flow_id": start.flow_id, "params": dict(start.params)}


def _outcome(envelope: Mapping[str, Any]) -> Started | ApiError:
    if envelope["code"] == 0:
        return _read(Started, envelope["data"])
    return api_error(envelope["code"], message=envelope["message"], data=envelope["data"])


def _read(kind: type[Value], data: Any) -> Value:
    try:
        return read(kind, data)
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswer(f"the answer is no {kind.__name__}: {error!r}", http_status=200) from error
