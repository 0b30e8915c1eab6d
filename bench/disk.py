"""What one durable write costs on this disk: a floor under every commit, and so under the latency of a transaction."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median

WRITES = 200
BLOCK = b"\0" * 8_192


def durable_write_ms(folder: Path) -> float:
    """The median of fdatasync after a block of 8 kB was appended."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return median(_write_ms(file.fileno(), place=number * len(BLOCK)) for number in range(WRITES))


def _write_ms(fd: int, *, place: int) -> float:
    os.pwrite(fd, BLOCK, place)
    began = time.perf_counter()
    getattr(os, "fdatasync", os.fsync)(fd)
    return (time.perf_counter() - began) * 1000
