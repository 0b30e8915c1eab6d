"""Memory shared between a cluster's main process and its drains: who works, that it ticks, and that it shall stop.

No locks: a process that is killed while it holds one would stop all the others.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray, RawValue

CELLS = 256
FIELDS = 3


@dataclass(frozen=True, slots=True)
class Entry:
    cell: int
    pid: int
    worker_id: int
    ticked_at: float  # time.monotonic(), which all processes of one machine share


class Board:
    """Made before the cluster forks; every process then sees the same memory."""

    def __init__(self) -> None:
        self._cells = RawArray("d", CELLS * FIELDS)
        self._stop = RawValue("b", 0)

    def ask_to_stop(self) -> None:
        self._stop.value = 1

    @property
    def is_stopping(self) -> bool:
        return bool(self._stop.value)

    def tick(self, *, worker_id: int) -> None:
        """This process works and its loop turns. A cell taken by two at once is found out at the next tick."""
        pid = os.getpid()
        cell = self._cell_of(pid)
        self._cells[cell : cell + FIELDS] = [float(pid), float(worker_id), time.monotonic()]

    def leave(self) -> None:
        self.clear(self._cell_of(os.getpid()))

    def clear(self, cell: int) -> None:
        self._cells[cell : cell + FIELDS] = [0.0, 0.0, 0.0]

    def entries(self) -> list[Entry]:
        cells = self._cells[:]
        taken = [cell for cell in range(0, len(cells), FIELDS) if cells[cell]]
        return [Entry(cell, int(cells[cell]), int(cells[cell + 1]), cells[cell + 2]) for cell in taken]

    def _cell_of(self, pid: int) -> int:
        """This process's cell, or a free one, looked for from a place that differs between processes."""
        free = -1
        for step in range(CELLS):
            cell = ((pid + step) % CELLS) * FIELDS
            holder = int(self._cells[cell])
            if holder == pid:
                return cell
            if not holder and free < 0:
                free = cell
        return max(free, 0)


board: Board | None = None
"""The board of this cluster; None where a drain runs outside one."""
