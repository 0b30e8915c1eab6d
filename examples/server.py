"""The service as `script/server` starts it, on a data folder of its own that is removed afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from bench.children import REPOSITORY, StandFailed, await_line, child, free_port
from dist_task.embedded.remove import remove

FIRST_START_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    data: Path


@contextmanager
def running_server(folder: Path, *, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Until the block ends. The log stays in `folder` as long as that does."""
    data, port = folder / "var", free_port()
    command: list[str | Path] = [REPOSITORY / "script" / "server", "--port", str(port), "--data", data]
    try:
        with child(command, log=folder / "server.log", environment=dict(environment or {}), piped=True) as process:
            await_ready(process, log=folder / "server.log")
            yield Server(f"http://127.0.0.1:{port}", data)
    finally:
        remove(data)


def await_ready(process: Popen[str], *, log: Path) -> None:
    try:
        await_line(process, containing="ready http", seconds=FIRST_START_SECONDS)
    except StandFailed as error:
        raise StandFailed(f"the service did not start.\n{error}{log.read_text(errors='replace')[-2000:]}") from error


@contextmanager
def temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dist_task-example-") as folder:
        Path(folder).chmod(0o711)  # the database's own user has to pass through
        yield Path(folder)
