"""What `guard` starts. Reads lines: `+123` and `-123` name process groups, an empty one says that the worker lives.

At the end of its input, and after so many seconds without a line, it kills the groups and ends. Standard library only,
and run by its path: it imports nothing of the project.
"""

import os
import select
import signal
import sys
import time
from contextlib import suppress


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # who stops the whole service tells every process of it
    groups: set[int] = set()
    try:
        listen(groups, seconds=float(sys.argv[1]))
    finally:
        kill(groups)


def listen(groups: set[int], *, seconds: float) -> None:
    rest = b""
    heard_at = time.monotonic()
    while (left := heard_at + seconds - time.monotonic()) > 0:
        if not select.select([0], [], [], left)[0]:
            continue
        heard = os.read(0, 65_536)
        if not heard:
            return
        heard_at = time.monotonic()
        *lines, rest = (rest + heard).split(b"\n")
        for line in lines:
            note(groups, line=line)


def note(groups: set[int], *, line: bytes) -> None:
    if line[:1] == b"+":
        groups.add(int(line[1:]))
    elif line[:1] == b"-":
        groups.discard(int(line[1:]))


def kill(groups: set[int]) -> None:
    for group in groups:
        with suppress(OSError):  # it has ended
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
