"""What each operation does to the rows of both databases, and what it gives back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from .conftest import DbTask, verdict
from .shops import HOSTILE, Shop

PERMANENT = (False, True)


def test_the_parameters_of_a_task_are_the_values_of_an_insert(shop: Shop, db: DbTask) -> None:
    output = db(operation="insert", input={"id": "eve", "balance": 7})

    assert output["rows"] == 1
    assert shop.balance("eve") == 7


def test_an_update_sets_and_counts_what_its_where_finds(shop: Shop, db: DbTask) -> None:
    output = db(operation="update", values={"balance": 5}, where={"id": {"op": "in", "value": ["ann", "bob", "x"]}})

    assert output == {"rows": 2}
    assert (shop.balance("ann"), shop.balance("bob")) == (5, 5)


def test_an_update_that_changes_nothing_counts_the_rows_it_found(shop: Shop, db: DbTask) -> None:
    output = db(operation="update", values={"balance": 100}, where={"id": "ann"}, expect_rows=1)

    assert output == {"rows": 1}


def test_a_delete_takes_what_its_where_finds(shop: Shop, db: DbTask) -> None:
    output = db(operation="delete", where={"id": "ann"})

    assert output == {"rows": 1}
    assert shop.balance("ann") is None


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ({"balance": 100}, ["ann"]),
        ({"balance": {"op": "!=", "value": 100}}, ["bob"]),
        ({"balance": {"op": "<", "value": 100}}, ["bob"]),
        ({"balance": {"op": "<=", "value": 100}}, ["ann", "bob"]),
        ({"balance": {"op": ">", "value": 0}}, ["ann"]),
        ({"balance": {"op": ">=", "value": 0}, "id": "bob"}, ["bob"]),
        ({"id": {"op": "in", "value": []}}, []),
        ({"note": {"op": "is_null"}}, ["ann", "bob"]),
        ({"note": {"op": "is_not_null"}}, []),
        ({"id": "' OR '1' = '1"}, []),
        ({"id": '" OR 1 = 1 -- %s %(x)s \\'}, []),
    ],
)
def test_conditions(shop: Shop, db: DbTask, condition: dict[str, Any], found: list[str]) -> None:
    db(operation="update", values={"note": "found"}, where=condition)

    assert [row[0] for row in shop.run("SELECT id FROM accounts WHERE note = 'found' ORDER BY id")] == found


@pytest.mark.parametrize("amount", [30, "30", 30.0, "3e1"])
def test_an_increment_and_a_decrement_move_money(shop: Shop, db: DbTask, amount: Any) -> None:
    db(run="a", operation="update", decrement={"balance": amount}, where={"id": "ann"}, expect_rows=1)
    db(run="b", operation="update", increment={"balance": amount}, where={"id": "bob"}, expect_rows=1)

    assert (shop.balance("ann"), shop.balance("bob")) == (70, 30)


def test_increments_are_exact_to_the_last_digit(shop: Shop, db: DbTask) -> None:
    shop.run("UPDATE accounts SET price = 10000000000000000000.1 WHERE id = 'ann'")

    db(operation="update", increment={"price": 0.2}, where={"id": "ann"})

    assert shop.run("SELECT price FROM accounts WHERE id = 'ann'")[0][0] == Decimal("10000000000000000000.3")


def test_an_upsert_inserts_and_then_updates(shop: Shop, db: DbTask) -> None:
    first = db(run="a", operation="upsert", values={"id": "eve", "balance": 1}, conflict=["id"])
    second = db(run="b", operation="upsert", values={"id": "eve", "balance": 2, "note": "x"}, conflict=["id"])

    assert (first["rows"], second["rows"]) == (1, 1)
    assert shop.run("SELECT balance, note FROM accounts WHERE id = 'eve'")[0] == (2, "x")


def test_an_upsert_adds_to_what_is_there(shop: Shop, db: DbTask) -> None:
    for run in ("a", "b"):
        db(run=run, operation="upsert", values={"id": "eve"}, increment={"balance": 5}, conflict=["id"])

    assert shop.balance("eve") == 10


def test_an_upsert_of_nothing_but_the_key_touches_its_row(shop: Shop, db: DbTask) -> None:
    shop.run("ALTER TABLE accounts ALTER COLUMN balance SET DEFAULT 3")

    outputs = [db(run=run, operation="upsert", values={"id": "eve"}, conflict=["id"]) for run in ("a", "b")]

    assert [output["rows"] for output in outputs] == [1, 1]
    assert shop.balance("eve") == 3


def test_an_upsert_without_a_unique_key_is_refused(shop: Shop, db: DbTask) -> None:
    error = db.failure(operation="upsert", table="keyless", values={"id": "a", "balance": 1}, conflict=["id"])

    assert (error.unknown, error.permanent) == PERMANENT
    assert shop.run("SELECT * FROM keyless") == []


def test_an_upsert_never_changes_the_row_of_another_unique_key(shop: Shop, db: DbTask) -> None:
    shop.run("CREATE UNIQUE INDEX prices ON accounts (price)")
    shop.run("UPDATE accounts SET price = 1 WHERE id = 'ann'")

    error = db.failure(operation="upsert", values={"id": "eve", "balance": 1, "price": 1}, conflict=["id"])

    assert error.code in ("SQLSTATE_23505", "MYSQL_1062")
    assert (shop.balance("ann"), shop.balance("eve")) == (100, None)


@pytest.mark.parametrize(
    ("column", "value", "read"),
    [
        ("note", None, None),
        ("note", "", ""),
        ("note", "扣款 🙂 %s %% \\' \" \n", "扣款 🙂 %s %% \\' \" \n"),
        ("note", "${input.x}", "${input.x}"),
        ("note", {"a": [1, None]}, '{"a":[1,null]}'),
        ("balance", 2**63 - 1, 2**63 - 1),
        ("price", 0.1, Decimal("0.1")),
        ("price", "12345678901234567890.0123456789", Decimal("12345678901234567890.0123456789")),
        ("flag", True, 1),
        (HOSTILE, "kept", "kept"),
    ],
)
def test_values_come_back_as_they_went(shop: Shop, db: DbTask, column: str, value: Any, read: Any) -> None:
    db(operation="update", values={column: value}, where={"id": "ann"}, expect_rows=1)

    mark = '"' if shop.dialect == "postgresql" else "`"
    quoted = mark + column.replace(mark, mark * 2) + mark
    query = f"SELECT {quoted} FROM accounts WHERE id = 'ann'"  # noqa: S608  # quoted
    assert shop.run(query)[0][0] == read


def test_objects_go_into_json_columns(shop: Shop, db: DbTask) -> None:
    db(operation="update", values={"doc": {"goods": [{"n": 1}], "名": "x"}}, where={"id": "ann"})

    path = "doc #>> '{goods,0,n}'" if shop.dialect == "postgresql" else "JSON_VALUE(doc, '$.goods[0].n')"
    assert shop.run(f"SELECT {path} FROM accounts WHERE id = 'ann'")[0][0] == "1"  # noqa: S608  # our own


def test_times_are_the_databases_own(shop: Shop, db: DbTask) -> None:
    db(operation="update", values={"at": "2024-02-29 10:00:00.5"}, where={"id": "ann"})

    found = shop.run("SELECT EXTRACT(YEAR FROM at), EXTRACT(DAY FROM at) FROM accounts WHERE id = 'ann'")[0]
    assert tuple(map(int, found)) == (2024, 29)


def test_returning_gives_exact_json(postgres: Shop, db: DbTask) -> None:
    output = db(
        operation="update",
        values={"price": "1.10", "at": "2024-01-31T10:00:00Z", "doc": {"a": [1]}},
        where={"id": "ann"},
        returning=["id", "price", "at", "doc", "flag"],
    )

    (row,) = output["returning"]
    assert output["rows"] == 1
    assert (row["id"], row["price"], row["doc"], row["flag"]) == ("ann", "1.1000000000", {"a": [1]}, None)
    assert row["at"].startswith("2024-01-31T")


def test_mariadb_tells_the_number_of_a_new_row(maria: Shop, db: DbTask) -> None:
    output = db(operation="insert", table="orders", values={"account": "ann"})

    assert output == {"rows": 1, "inserted_id": 1}


@pytest.mark.parametrize("values", [{"balance": "many"}, {"balance": 2**70}, {"at": "yesterday's"}, {"id": "x" * 65}])
def test_a_value_that_does_not_fit_is_refused_for_good(shop: Shop, db: DbTask, values: dict[str, Any]) -> None:
    error = db.failure(operation="update", values=values, where={"id": "ann"})

    assert error.code.startswith(("SQLSTATE_22", "MYSQL_1"))
    assert verdict(error)[1:] == PERMANENT
    assert shop.balance("ann") == 100


@pytest.mark.parametrize(
    ("operation", "config", "codes"),
    [
        ("insert", {"values": {"id": "ann", "balance": 1}}, ("SQLSTATE_23505", "MYSQL_1062")),
        ("insert", {"values": {"id": "eve"}}, ("SQLSTATE_23502", "MYSQL_1364")),
        ("update", {"decrement": {"balance": 101}, "where": {"id": "ann"}}, ("SQLSTATE_23514", "MYSQL_4025")),
        ("insert", {"table": "orders", "values": {"account": "nobody"}}, ("SQLSTATE_23503", "MYSQL_1452")),
    ],
)
def test_constraints_hold(shop: Shop, db: DbTask, operation: str, config: Any, codes: tuple[str, str]) -> None:
    error = db.failure(operation=operation, **config)

    assert verdict(error) == (codes[shop.dialect == "mysql"], *PERMANENT)
    assert shop.barrier == []


@pytest.mark.parametrize("rows", [0, 2])
def test_another_number_of_rows_than_expected_changes_nothing(shop: Shop, db: DbTask, rows: int) -> None:
    error = db.failure(operation="update", values={"balance": 1}, where={"id": "ann"}, expect_rows=rows)

    assert verdict(error) == ("UNEXPECTED_ROWS", *PERMANENT)
    assert (shop.balance("ann"), shop.barrier) == (100, [])


def test_a_failed_attempt_may_be_tried_again(shop: Shop, db: DbTask) -> None:
    take = {"decrement": {"balance": 150}, "where": {"id": "ann", "balance": {"op": ">=", "value": 150}}}
    db.failure(operation="update", expect_rows=1, **take)
    shop.run("UPDATE accounts SET balance = 200 WHERE id = 'ann'")

    db(operation="update", expect_rows=1, **take)

    assert shop.balance("ann") == 50
