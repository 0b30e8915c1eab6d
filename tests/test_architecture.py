"""Imports point down: interfaces -> engine, stats -> models -> pure -> base. Statuses are written in one place."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("dist_task", "flows", "transactions", "exceptions_app", "stats")
SOURCES = sorted(
    path
    for app in APPS
    for path in (ROOT / app).rglob("*.py")
    if "migrations" not in path.parts and not path.is_relative_to(ROOT / "dist_task" / "embedded")
)
LAYERS = ("base", "pure", "models", "engine", "interface")

BASE = {
    "dist_task": r"(__init__|errors|conf|states|problems|payload|database|failpoints|garbage"
    r"|redaction|sealing|given_secrets|functions)",
    "flows": r"(__init__|apps)",
}
PURE = {
    "dist_task": r"(engine/(plan|moves|fan|outcome|compensate|simulate)|executors/.*"
    r"|alerts/(words|schedule|texts|formats|addresses)|batches/(words|export)|four_eyes/words)",
    "flows": r"(definition|graph|retry|fields|registry|reader|source|tasks|task_calls|task_spec|templates|filling"
    r"|expressions|evaluation|params_schema|hints|advice)",
}
MODELS = r"(((alerts|batches|four_eyes|saved_views)/)?models|registry_rows|register|connection_rows|secret_rows)"
ENGINE = r"(engine/.*|invariants.*)"


def layer_of(module: str) -> int:
    """The layer of a module of ours, by its dotted name."""
    app, _, rest = module.partition(".")
    name = rest.replace(".", "/") or "__init__"
    if re.fullmatch(BASE.get(app, "(__init__|apps)"), name):
        return 0
    if re.fullmatch(PURE.get(app, "-"), name):
        return 1
    if re.fullmatch(MODELS, name):
        return 2
    if app == "dist_task" and re.fullmatch(ENGINE, name):
        return 3
    return 4


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Every module of ours that this file imports, wherever in the file it does so."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] in APPS)
        elif isinstance(node, ast.ImportFrom):
            yield from _imported_from(node, package=package)


def _imported_from(node: ast.ImportFrom, *, package: list[str]) -> Iterator[str]:
    base = package[: len(package) - node.level + 1] if node.level else []
    origin = ".".join([*base, *(node.module or "").split(".")]).strip(".")
    if origin.split(".")[0] not in APPS:
        return
    for name in node.names:
        path = ROOT / Path(*origin.split("."), name.name)
        yield f"{origin}.{name.name}" if path.with_suffix(".py").exists() or path.is_dir() else origin


EDGES = [(module_of(path), target) for path in SOURCES for target in imports_of(path)]


def test_imports_point_down() -> None:
    upward = {
        f"{source} ({LAYERS[layer_of(source)]}) -> {target} ({LAYERS[layer_of(target)]})"
        for source, target in EDGES
        if layer_of(target) > layer_of(source)
    }

    assert upward == set()


def test_models_point_one_way() -> None:
    order = ["flows", "transactions", "dist_task", "exceptions_app"]
    backward = {
        (source, target)
        for source, target in EDGES
        if source.endswith(".models") and target.endswith(".models")
        if order.index(target.split(".")[0]) > order.index(source.split(".")[0])
    }

    assert backward == set()


def test_executors_know_no_model_and_nobody_in_the_engine_knows_django_q2_but_two() -> None:
    for path in (ROOT / "dist_task" / "executors").rglob("*.py"):
        assert not re.search(
            r"^\s*(from|import) .*(\bmodels\b|django\.db)", path.read_text(encoding="utf-8"), flags=re.MULTILINE
        ), path.name
    knowing = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if re.search(r"^\s*(from|import) django_q\b", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }

    assert knowing <= {"dist_task/engine/queue.py", "dist_task/engine/jobs.py"}


def test_nobody_but_its_own_interface_and_the_consoles_imports_stats() -> None:
    importing = {source for source, target in EDGES if target.startswith("stats.") and not source.startswith("stats.")}

    assert {source for source in importing if layer_of(source) < 4} == set()


@pytest.mark.parametrize("package", ["barrier", "client"])
def test_what_other_services_run_and_the_service_know_nothing_of_each_other(package: str) -> None:
    home = f"dist_task.{package}"
    ends = [(source.startswith(home), target.startswith(home)) for source, target in EDGES]

    assert (True, True) in ends
    assert {(True, False), (False, True)} & set(ends) == set()


@pytest.mark.parametrize("package", ["barrier", "client"])
def test_what_other_services_run_needs_the_standard_library_only(package: str) -> None:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import dist_task.{package}"

    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


STATUS_WRITES = (
    r"\.update\([^)]*\b(status|compensation)=",
    r"\bSET\b[^;\"]*\b(status|compensation)\s*=",
    r"(?m)^\s*[\w.()\[\]]+\.status\s*=[^=]",  # a statement, not a comparison in a query
    r"\.status, [^=()\n]* = [^=]",
)


@pytest.mark.parametrize("pattern", STATUS_WRITES)
def test_a_status_is_written_in_the_store_only(pattern: str) -> None:
    writing = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if re.search(pattern, path.read_text(encoding="utf-8"), flags=re.DOTALL)
    }
    elsewhere = {name for name in writing if not name.startswith("dist_task/engine/store/")}

    assert elsewhere == set()


def test_every_pattern_would_find_what_it_forbids() -> None:
    samples = (
        'x.update(a=1, status="failed")',
        "UPDATE t SET a = 1, status = 'x'",
        "run.status = 1",
        "a.status, b = 1",
    )

    assert all(
        re.search(pattern, sample, flags=re.DOTALL) for pattern, sample in zip(STATUS_WRITES, samples, strict=True)
    )


def test_no_vague_modules() -> None:
    vague = {"utils", "helpers", "common", "services", "managers", "misc"}

    assert {path.stem for path in SOURCES} & vague == set()
