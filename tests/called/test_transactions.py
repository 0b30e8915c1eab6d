"""The barrier and the work are one transaction: kept both, or neither, and never on a connection that cannot say so."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extras
import pymysql
import pytest
import sqlalchemy
from django.db.transaction import atomic
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from dist_task.barrier import BarrierError, Call, barrier, create_table

from . import bank as banks
from .bank import AMOUNT, Bank, Database, Refused, execute

ACTION = Call("order_1", "pay", op="action")
COMPENSATE = Call("order_1", "pay", op="compensate")
ROWS = "SELECT count(*) FROM dist_task_barrier"

postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
mysql = pytest.mark.parametrize("database", ["mysql"], indirect=True)
sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
driver = pytest.mark.parametrize("bank", ["driver"], indirect=True)
core = pytest.mark.parametrize("bank", ["core"], indirect=True)
django = pytest.mark.parametrize("bank", ["django"], indirect=True)
session = pytest.mark.parametrize("bank", ["session"], indirect=True)


def refused(connection: Any) -> bool:
    """Whether the barrier refuses the connection before the work."""
    with pytest.raises(BarrierError, match="autocommit"), barrier(connection, ACTION):
        raise AssertionError("the work was done")
    return True


@driver
@postgresql
def test_autocommit_of_psycopg2_is_refused(bank: Bank) -> None:
    with closing(bank.open()) as connection:
        connection.autocommit = True

        assert refused(connection)
        assert execute(connection, ROWS).fetchone()[0] == 0


@driver
@mysql
def test_autocommit_of_pymysql_is_refused(bank: Bank) -> None:
    with closing(bank.open()) as connection:
        connection.autocommit(True)

        assert refused(connection)
        assert execute(connection, ROWS).fetchone()[0] == 0


@driver
@sqlite
def test_autocommit_of_sqlite3_is_refused_unless_its_owner_has_begun(bank: Bank) -> None:
    with closing(bank.open()) as connection:
        connection.isolation_level = None
        assert refused(connection)

        connection.execute("BEGIN IMMEDIATE")
        with barrier(connection, ACTION) as turn:
            assert turn.is_mine

        assert not connection.in_transaction
        assert execute(connection, ROWS).fetchone()[0] == 1


@core
def test_autocommit_of_sqlalchemy_is_refused(bank: Bank) -> None:
    with closing(bank.open().execution_options(isolation_level="AUTOCOMMIT")) as connection:
        assert refused(connection)
        assert execute(connection, ROWS).fetchone()[0] == 0


@django
def test_in_an_atomic_block_of_django_it_is_a_savepoint(bank: Bank) -> None:
    with closing(bank.open()) as connection, atomic(using=connection.alias):
        execute(connection, "UPDATE account SET amount = amount + 1")
        with suppress(Refused), barrier(connection, ACTION):
            execute(connection, "UPDATE account SET amount = 0")
            raise Refused
        assert execute(connection, ROWS).fetchone()[0] == 0

    assert bank.amount == AMOUNT + 1


@django
def test_an_outer_block_of_django_takes_all_of_it_back(bank: Bank) -> None:
    with closing(bank.open()) as connection, suppress(Refused), atomic(using=connection.alias):
        with barrier(connection, ACTION):
            execute(connection, "UPDATE account SET amount = 0")
        raise Refused

    assert bank.answer(ACTION).is_mine
    assert bank.amount == AMOUNT - 10


@session
def test_what_a_session_has_done_before_is_committed_with_the_work(bank: Bank) -> None:
    with closing(bank.open()) as opened, opened.begin(), barrier(opened, ACTION) as turn:
        execute(opened, "UPDATE account SET amount = amount - 10")
        turn.answer = "done"

    assert bank.amount == AMOUNT - 10
    assert bank.answer(ACTION).answer == "done"


@postgresql
def test_an_aborted_transaction_of_postgresql_is_no_success(bank: Bank) -> None:
    """A commit would turn into a rollback, in silence."""

    def fail_in_silence() -> None:
        with suppress(Exception):
            execute(connection, "SELECT nothing FROM nowhere")

    with closing(bank.open()) as connection, pytest.raises(Exception, match="aborted"), barrier(connection, ACTION):
        execute(connection, "UPDATE account SET amount = 0")
        fail_in_silence()

    assert bank.answer(ACTION).is_mine
    assert bank.amount == AMOUNT - 10


@driver
def test_work_that_rolled_back_by_itself_is_no_success(bank: Bank) -> None:
    lost = pytest.raises(BarrierError, match="rolled back")
    with closing(bank.open()) as connection, lost, barrier(connection, ACTION):
        connection.rollback()
        execute(connection, "UPDATE account SET amount = 0")

    assert bank.answer(ACTION).is_mine
    assert bank.amount == AMOUNT - 10


@driver
def test_an_answer_that_is_not_json_undoes_the_work(bank: Bank) -> None:
    with closing(bank.open()) as connection, pytest.raises(TypeError), barrier(connection, ACTION) as turn:
        execute(connection, "UPDATE account SET amount = 0")
        turn.answer = object()

    assert bank.answer(ACTION).is_mine
    assert bank.amount == AMOUNT - 10


@driver
@mysql
def test_a_snapshot_of_mysql_that_is_older_than_the_first_attempt_sees_its_answer(bank: Bank) -> None:
    with closing(bank.open()) as connection:
        execute(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
        first = bank.answer(ACTION)

        with barrier(connection, ACTION) as second:
            assert (second.is_mine, second.answer) == (False, first.answer)


@driver
@postgresql
def test_a_snapshot_of_postgresql_that_is_older_than_the_first_attempt_is_refused_by_it(bank: Bank) -> None:
    with closing(bank.open()) as connection:
        connection.set_session(isolation_level="REPEATABLE READ")
        execute(connection, ROWS)
        bank.answer(ACTION)

        with pytest.raises(psycopg2.errors.SerializationFailure), barrier(connection, ACTION):
            raise AssertionError("the work was done")

    assert bank.amount == AMOUNT - 10


@driver
@mysql
def test_calls_beside_a_repeated_one_do_not_wait_in_mysql(bank: Bank) -> None:
    """The lock on a duplicate is one on its row, not on the gap before it."""
    neighbours = [Call(name, "pay", op="action") for name in ("order_0", "order_1", "order_2", "order_10")]
    bank.answer(neighbours[1])

    with bank.held(neighbours[1]):
        turns = [bank.answer(call) for call in (neighbours[0], *neighbours[2:])]

    assert all(turn.is_mine for turn in turns)


@driver
@pytest.mark.parametrize("database", ["postgresql", "mysql"], indirect=True)
def test_rows_may_be_dicts(bank: Bank, database: Database) -> None:
    first = bank.answer(ACTION)
    factory = psycopg2.extras.RealDictCursor if "postgresql" in database.dialect else pymysql.cursors.DictCursor
    with closing(bank.open()) as connection:
        if "postgresql" in database.dialect:
            connection.cursor_factory = factory
        else:
            connection.cursorclass = factory

        with barrier(connection, ACTION) as second:
            assert second.answer == first.answer


@driver
def test_one_call_may_have_several_transactions(bank: Bank) -> None:
    with closing(bank.open()) as connection:
        turns = []
        for barrier_id in ("stock", "money", "stock"):
            with barrier(connection, ACTION, barrier_id=barrier_id) as turn:
                turns.append(turn.is_mine)

    assert turns == [True, True, False]


@driver
@pytest.mark.parametrize("barrier_id", ["", "x" * 65])
def test_a_barrier_id_that_does_not_fit_is_refused(bank: Bank, barrier_id: str) -> None:
    misfit = pytest.raises(ValueError, match="barrier_id")
    with closing(bank.open()) as connection, misfit, barrier(connection, ACTION, barrier_id=barrier_id):
        raise AssertionError("the work was done")


@driver
def test_the_table_may_be_there_already(bank: Bank) -> None:
    bank.answer(ACTION)

    with closing(bank.open()) as connection:
        create_table(connection)

    assert not bank.answer(ACTION).is_mine


def unknown_connections() -> list[Any]:
    engine = sqlalchemy.create_engine("sqlite://")
    return [None, object(), engine, AsyncSession(), sqlite3.Cursor]


@pytest.mark.parametrize("connection", unknown_connections(), ids=lambda value: type(value).__name__)
def test_what_is_no_connection_is_refused(connection: Any) -> None:
    with pytest.raises(TypeError, match="no connection that the barrier knows"), barrier(connection, ACTION):
        raise AssertionError("the work was done")


@core
@sqlite
def test_a_database_that_is_not_known_is_refused(bank: Bank) -> None:
    with closing(bank.open()) as connection:
        connection.dialect.name = "oracle"

        with pytest.raises(TypeError, match="oracle"), barrier(connection, ACTION):
            raise AssertionError("the work was done")


@sqlite
def test_objects_of_a_session_are_written_with_the_work(database: Database) -> None:
    bank = Bank(banks.session(database), database=database)
    opened: Session = bank.open()
    table = sqlalchemy.Table("account", sqlalchemy.MetaData(), autoload_with=opened.get_bind())

    with closing(opened), barrier(opened, ACTION) as turn:
        opened.execute(table.update().values(amount=table.c.amount - 10))
        turn.answer = 1

    assert bank.amount == AMOUNT - 10
