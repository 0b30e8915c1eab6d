"""Remove a data folder with everything that belongs to it, wherever it had to go: for tests.

python -m dist_task.embedded.remove DIR
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from pathlib import Path

from dist_task.embedded.layout import Layout, open_lock, try_lock

PATIENCE_SECONDS = 60.0


def remove(folder: Path) -> None:
    """Waits until the server has gone, which it does when its last user has."""
    layout = Layout(folder=folder)
    if layout.folder.is_dir():
        lock = open_lock(layout.keeper_lock)
        until = time.monotonic() + PATIENCE_SECONDS
        while not try_lock(lock):
            if time.monotonic() > until:
                sys.exit(f"the server of {folder} still runs: somebody uses it")
            time.sleep(0.1)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(layout.elsewhere_file.read_text().strip())
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


if __name__ == "__main__":
    remove(Path(sys.argv[1]))
