"""Whether this source has prepared this database before: then the start need not wait for asking it again."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from dist_task.embedded.layout import Layout, write_private


@dataclass(frozen=True, slots=True)
class Preparation:
    """A note in the data folder. It decides when `prepare` runs, never whether: a wrong one costs time."""

    source: Path
    layout: Layout
    embedded: bool

    @property
    def _note(self) -> Path:
        return self.layout.folder / "prepared"

    def _fingerprint(self) -> str:
        """The migrations, the packages (they have some too), and the server's password, made with it."""
        names = sorted(str(path) for path in self.source.glob("*/migrations/*.py"))
        parts = [*names, (self.source / "requirements.txt").read_text(), self.layout.password()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def is_noted(self) -> bool:
        with contextlib.suppress(OSError):
            return self.embedded and self._note.read_text() == self._fingerprint()
        return False

    def note(self) -> None:
        with contextlib.suppress(OSError):
            if self.embedded:
                write_private(self._note, text=self._fingerprint())
