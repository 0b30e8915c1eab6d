"""What a db task says when the database is away, busy, or says no; and that it keeps its deadline."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from .conftest import DbTask, register, verdict
from .relay import Relay
from .shops import Locked, Shop, place_of

TAKE = {"operation": "update", "decrement": {"balance": 10}, "where": {"id": "ann"}, "expect_rows": 1}
NOT_DONE = (False, False)
NOT_DONE_FOR_GOOD = (False, True)


# -- no connection --


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
def test_a_database_that_is_not_there_is_tried_again(db: DbTask, settings: Any, dialect: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        register(settings, "shop", away(dialect, port=unused.getsockname()[1]))

        error = db.failure(**TAKE)

    assert verdict(error) == ("CONNECTION_REFUSED", *NOT_DONE)
    assert "hush" not in str(error)


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
def test_a_server_that_says_nothing_is_given_up_in_time(db: DbTask, settings: Any, dialect: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        register(settings, "shop", {**away(dialect, port=mute.getsockname()[1]), "connect_seconds": 0.3})
        began_at = time.monotonic()

        error = db.failure(**TAKE)

    assert verdict(error) == ("CONNECT_TIMEOUT", *NOT_DONE)
    assert time.monotonic() - began_at < 5


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
def test_a_server_that_hangs_up_is_tried_again(db: DbTask, settings: Any, dialect: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude, ThreadPoolExecutor(1) as threads:
        register(settings, "shop", away(dialect, port=rude.getsockname()[1]))
        threads.submit(lambda: rude.accept()[0].close())

        error = db.failure(**TAKE)

    assert verdict(error) == ("CONNECTION_REFUSED", *NOT_DONE)


def away(dialect: str, *, port: int) -> dict[str, Any]:
    tables = {"accounts": {"columns": ["id", "balance"], "operations": ["update"]}}
    return {"kind": "db", "url": f"{dialect}://tasks:hush@127.0.0.1:{port}/shop", "tables": tables}


def test_a_wrong_password_is_said_without_showing_it(shop: Shop, db: DbTask, settings: Any) -> None:
    register(settings, "shop", shop.config(password="hush-hush"))

    error = db.failure(**TAKE)

    assert error.code in ("CONNECTION_REFUSED", "MYSQL_1045")
    assert not error.unknown
    assert "hush" not in f"{error} {error.request} {error.response}"


def test_encryption_that_is_required_is_not_given_up(maria: Shop, db: DbTask, settings: Any) -> None:
    register(settings, "shop", maria.config(tls="require"))

    error = db.failure(**TAKE)

    assert verdict(error) == ("CONNECTION_REFUSED", *NOT_DONE)
    assert "SSL" in str(error)


def test_the_database_of_the_service_itself_is_refused(
    postgres: Shop, db: DbTask, settings: Any, transactional_db: None
) -> None:
    register(settings, "shop", postgres.config(**place_of(connection.settings_dict["NAME"])))

    error = db.failure(**TAKE)

    assert verdict(error) == ("OWN_DATABASE", *NOT_DONE_FOR_GOOD)


# -- a connection that breaks --


def test_a_kept_connection_that_broke_meanwhile_costs_no_attempt(shop: Shop, db: DbTask, relay: Relay) -> None:
    db(run="a", **TAKE)
    relay.break_all()

    db(run="b", **TAKE)

    assert shop.balance("ann") == 80
    assert relay.accepted == 2


def test_a_connection_is_used_again(shop: Shop, db: DbTask, relay: Relay) -> None:
    db(run="a", **TAKE)
    db.failure(run="b", **{**TAKE, "expect_rows": 3})
    db.failure(run="c", **{**TAKE, "decrement": {"balance": 1000}})
    db(run="d", **TAKE)

    assert relay.accepted == 1


def test_a_connection_that_was_configured_anew_is_made_anew(
    shop: Shop, db: DbTask, relay: Relay, settings: Any
) -> None:
    db(run="a", **TAKE)
    register(settings, "shop", {**shop.config(max_rows=7), **shop.through(relay.port)})

    db(run="b", **TAKE)

    assert relay.accepted == 2


def test_a_connection_that_breaks_before_the_commit_has_done_nothing(shop: Shop, db: DbTask, relay: Relay) -> None:
    lock = Locked(shop)
    with ThreadPoolExecutor(1) as threads:
        failing = threads.submit(db.failure, **TAKE)
        lock.until_somebody_waits()
        relay.break_all()
        error = failing.result(30)
    lock.release()

    assert verdict(error) == ("CONNECTION_LOST", *NOT_DONE)
    assert db(**TAKE) == {"rows": 1}
    assert shop.balance("ann") == 90


def test_a_server_that_stands_still_is_given_up_at_the_deadline(shop: Shop, db: DbTask, relay: Relay) -> None:
    lock = Locked(shop)
    began_at = time.monotonic()
    with ThreadPoolExecutor(1) as threads:
        failing = threads.submit(db.failure, seconds=2.0, **TAKE)
        lock.until_somebody_waits()
        relay.hold()
        error = failing.result(30)
    took = time.monotonic() - began_at
    lock.release()

    assert verdict(error) == ("TIMEOUT", *NOT_DONE)
    assert 1.9 < took < 20


# -- a server that refuses --


def test_a_lock_that_is_held_ends_the_attempt_at_its_deadline(shop: Shop, db: DbTask) -> None:
    lock = Locked(shop)
    began_at = time.monotonic()

    error = db.failure(seconds=2.0, **TAKE)
    took = time.monotonic() - began_at
    lock.release()

    assert verdict(error)[1:] == NOT_DONE
    assert error.code in ("SQLSTATE_55P03", "SQLSTATE_57014", "MYSQL_1205", "MYSQL_1969")
    assert took < 20
    assert db(**TAKE) == {"rows": 1}


def test_a_statement_that_takes_too_long_is_ended_by_the_server(shop: Shop, db: DbTask) -> None:
    for text in SLOW[shop.dialect]:
        shop.run(text)

    error = db.failure(seconds=1.0, **TAKE)

    assert verdict(error)[1:] == NOT_DONE
    assert error.code in ("SQLSTATE_57014", "MYSQL_1969")
    assert shop.balance("ann") == 100


SLOW = {
    "postgresql": (
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN NEW; END'",
        "CREATE TRIGGER slow BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION slow()",
    ),
    "mysql": ("CREATE TRIGGER slow BEFORE UPDATE ON accounts FOR EACH ROW SET @slow = SLEEP(30)",),
}


def test_a_deadlock_is_tried_again(shop: Shop, db: DbTask) -> None:
    """Of the two, the databases end the attempt: it looks first, or has done less."""
    both = {"operation": "update", "values": {"note": "x"}, "where": {"id": {"op": "in", "value": ["ann", "bob"]}}}
    lock = Locked(shop, account="bob", much=True)
    with ThreadPoolExecutor(1) as threads:
        failing = threads.submit(db.failure, **both)
        lock.until_somebody_waits()
        lock.run("UPDATE accounts SET note = 'y' WHERE id = 'ann'")
        error = failing.result(30)
    lock.release()

    assert verdict(error) == ({"postgresql": "SQLSTATE_40P01", "mysql": "MYSQL_1213"}[shop.dialect], *NOT_DONE)
    assert db(**both) == {"rows": 2}


def test_a_right_that_is_missing_is_refused_for_good(shop: Shop, db: DbTask) -> None:
    role = shop.role if shop.dialect == "postgresql" else f"{shop.role}@'127.0.0.1'"
    shop.run(f"REVOKE UPDATE ON accounts FROM {role}")

    error = db.failure(**TAKE)

    assert verdict(error) == ({"postgresql": "SQLSTATE_42501", "mysql": "MYSQL_1142"}[shop.dialect], *NOT_DONE_FOR_GOOD)


def test_a_column_that_is_gone_is_refused_for_good(shop: Shop, db: DbTask) -> None:
    shop.run("ALTER TABLE accounts DROP COLUMN note")

    error = db.failure(operation="update", values={"note": "x"}, where={"id": "ann"})

    assert verdict(error) == ({"postgresql": "SQLSTATE_42703", "mysql": "MYSQL_1054"}[shop.dialect], *NOT_DONE_FOR_GOOD)


@pytest.mark.parametrize("operation", ["update", "delete"])
def test_more_rows_than_the_connection_allows_change_nothing(
    shop: Shop, db: DbTask, settings: Any, operation: str
) -> None:
    register(settings, "shop", shop.config(max_rows=1))
    values = {"values": {"balance": 1}} if operation == "update" else {}

    error = db.failure(operation=operation, where={"balance": {"op": ">=", "value": 0}}, **values)

    assert verdict(error) == ("TOO_MANY_ROWS", *NOT_DONE_FOR_GOOD)
    assert (shop.balance("ann"), shop.balance("bob"), shop.barrier) == (100, 0, [])


def test_more_than_fits_an_answer_changes_nothing(postgres: Shop, db: DbTask, settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "MAX_RESPONSE_BYTES": 1000}

    error = db.failure(operation="update", values={"note": "x" * 1000}, where={"id": "ann"}, returning=["note"])

    assert verdict(error) == ("RESPONSE_TOO_LARGE", *NOT_DONE_FOR_GOOD)
    assert postgres.barrier == []


def test_what_is_logged_shows_the_change_and_no_secret(shop: Shop, db: DbTask) -> None:
    error = db.failure(operation="insert", input={"id": "ann", "balance": 1})

    assert error.request is not None
    assert error.request["parameters"] == {"id": "ann", "balance": 1}
    assert shop.password not in f"{error} {error.request}"
