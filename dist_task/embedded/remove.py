"""Remove a data folder with everything that belongs to it, wherever it had to go: for tests.

python -m dist_task.embedded.remove DIR
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import sys
from pathlib import Path

from dist_task.embedded.layout import Layout, open_lock


def remove(folder: Path) -> None:
    """Waits until the server has gone, which it does when its last user has."""
    layout = Layout(folder=folder)
    if layout.folder.is_dir():
        fcntl.flock(open_lock(layout.keeper_lock), fcntl.LOCK_EX)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(layout.elsewhere_file.read_text().strip())
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


if __name__ == "__main__":
    remove(Path(sys.argv[1]))
