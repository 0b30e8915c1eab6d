"""Encrypted connections, to a MariaDB that has a certificate of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tests.mariadb
from tests.mariadb import MISSING, mariadb

from .conftest import DbTask, registered, verdict
from .shops import Shop, mariadb_shop

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, to make certificates"),
]
TAKE = {"operation": "update", "decrement": {"balance": 10}, "where": {"id": "ann"}, "expect_rows": 1}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes one for loopback, signed by itself; its key is beside it."""
    folder = tmp_path_factory.mktemp("certificates")

    def make(name: str) -> Path:
        path = folder / f"{name}.pem"
        files = ["-keyout", str(path.with_suffix(".key")), "-out", str(path)]
        subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *files, *subject]
        subprocess.run(command, check=True, capture_output=True)
        return path

    return make


@pytest.fixture(scope="module")
def authority(certificate: Callable[[str], Path]) -> Path:
    return certificate("bank")


@pytest.fixture(scope="module")
def encrypted(authority: Path) -> Iterator[Shop]:
    options = (f"--ssl-cert={authority}", f"--ssl-key={authority.with_suffix('.key')}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tests.mariadb, "SMALL", (*tests.mariadb.SMALL, *options))
        with mariadb() as server, mariadb_shop(server) as shop:
            yield shop


@pytest.mark.parametrize("tls", ["prefer", "require", "verify"])
def test_the_role_may_insist_on_encryption(
    encrypted: Shop, authority: Path, db: DbTask, settings: Any, tls: str
) -> None:
    shop = registered(encrypted, settings=settings, tls=tls, ca_file=str(authority))
    shop.run(f"ALTER USER {shop.role}@'127.0.0.1' REQUIRE SSL")

    assert db(**TAKE) == {"rows": 1}


def test_without_encryption_such_a_role_is_not_let_in(encrypted: Shop, db: DbTask, settings: Any) -> None:
    shop = registered(encrypted, settings=settings, tls="off")
    shop.run(f"ALTER USER {shop.role}@'127.0.0.1' REQUIRE SSL")

    assert verdict(db.failure(**TAKE)) == ("MYSQL_1045", False, True)


def test_a_server_with_another_certificate_is_not_spoken_to(
    encrypted: Shop, certificate: Callable[[str], Path], db: DbTask, settings: Any
) -> None:
    registered(encrypted, settings=settings, ca_file=str(certificate("thief")))

    error = db.failure(**TAKE)

    assert verdict(error) == ("CONNECTION_REFUSED", False, False)
    assert "certificate" in str(error).lower()
