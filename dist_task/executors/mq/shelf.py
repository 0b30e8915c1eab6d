"""Open connections to brokers that wait for the next message; each serves one thread at a time.

What is promised: a message is sent once, and a connection whose answer did not come is closed, never used again.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .broker import Broker
from .message import Message

if TYPE_CHECKING:
    from .wire import Wire

IDLE_SECONDS = 30.0
"""Less than what proxies and brokers grant a silent connection: kombu sends no heartbeats unless somebody calls it."""
MOST_IDLE = 8
"""Of one sort; as many as there are threads may be open for a moment."""

Sort = tuple[Broker, float]


class Shelf:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: defaultdict[Sort, list[tuple[float, Wire]]] = defaultdict(list)

    def publish(self, message: Message, *, broker: Broker, timeout_seconds: float) -> None:
        """Raises ExecutionError; when it returns, the broker has the message.

        Half of the time is for reaching the broker, so that there is time left for the answer: a time-out of the
        first half is no unknown outcome.
        """
        ends_at = time.monotonic() + timeout_seconds
        sort = broker, timeout_seconds / 2
        with self._lent(sort) as wire:
            refusal = wire.send(message, ends_at=min(ends_at, time.monotonic() + broker.confirm_seconds))
        if refusal is not None:
            raise refusal

    def close(self) -> None:
        with self._lock:
            wires = [wire for kept in self._idle.values() for _since, wire in kept]
            self._idle.clear()
        for wire in wires:
            wire.close()

    @contextmanager
    def _lent(self, sort: Sort) -> Iterator[Wire]:
        from .wire import opened  # kombu and redis cost 17 MB and 0.3 s: for workers that publish, not for all

        broker, seconds = sort
        wire = self._take(sort) or opened(broker, seconds=seconds)
        try:
            yield wire
        except BaseException:
            wire.drop()
            raise
        self._put(sort, wire)

    def _take(self, sort: Sort) -> Wire | None:
        """The one used last, if it is fit; what lay here for too long is closed on the way."""
        self._sweep(time.monotonic() - IDLE_SECONDS)
        while True:
            with self._lock:
                if not self._idle[sort]:
                    return None
                _since, wire = self._idle[sort].pop()
            if wire.is_fit():
                return wire
            wire.drop()

    def _put(self, sort: Sort, wire: Wire) -> None:
        with self._lock:
            is_kept = len(self._idle[sort]) < MOST_IDLE
            if is_kept:
                self._idle[sort].append((time.monotonic(), wire))
        if not is_kept:
            wire.close()

    def _sweep(self, before: float) -> None:
        old = []
        with self._lock:
            for sort, kept in list(self._idle.items()):
                old += [wire for since, wire in kept if since < before]
                self._idle[sort] = [each for each in kept if each[0] >= before]
                if not self._idle[sort]:
                    del self._idle[sort]
        for wire in old:
            wire.drop()
