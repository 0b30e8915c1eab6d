"""The verbs of the API."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from .answers import (
    ExceptionRecord,
    HandledException,
    MovedTransaction,
    ScheduledRetry,
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
        path = f"/transactions/{quote(instance_id, safe='')}/retry"
        return self._read(MovedTransaction, Request("POST", path, is_repeatable=False, body={"remark": remark}))

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

    def exception(self, exception_id: int) -> ExceptionRecord:
        return self._read(ExceptionRecord, Request("GET", f"/exceptions/{exception_id}", is_repeatable=True))

    def handle(self, exception_id: int, *, remark: str = "", resolution: str = "acknowledged") -> HandledException:
        """Marks an exception as handled; runs nothing. `resolution`: also fixed_externally, skipped, ignored."""
        path, body = f"/exceptions/{exception_id}/handle", {"remark": remark, "resolution": resolution}
        return self._read(HandledException, Request("POST", path, is_repeatable=False, body=body))

    def retry_exception(
        self, exception_id: int, *, delay_seconds: float | None = None, force: bool = False, remark: str = ""
    ) -> ScheduledRetry:
        """Schedules the task again after its interval, or after `delay_seconds`. `force`: also with no_retry."""
        body: dict[str, Any] = {"force": force, "remark": remark}
        if delay_seconds is not None:
            body["delay"] = delay_seconds
        path = f"/exceptions/{exception_id}/retry"
        return self._read(ScheduledRetry, Request("POST", path, is_repeatable=False, body=body))

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
        path = f"/transactions/{quote(instance_id, safe='')}"
        request = Request("GET", path, is_repeatable=True, query=query, answer_seconds=seconds)
        return self._read(Transaction, request)

    def _read(self, kind: type[Value], request: Request) -> Value:
        return _read(kind, self._wire.data(request))


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
