"""What is refused when a flow is posted, and when a connection is registered. No database is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dist_task.errors import ExecutionError
from dist_task.executors.base import TaskCall
from dist_task.executors.db import DbExecutor, mysql, postgres

from .conftest import register

EXECUTOR = DbExecutor()
TABLES = {
    "accounts": {"columns": ["id", "balance", "note"], "operations": ["insert", "update", "delete", "upsert"]},
    "bank.audit": {"columns": ["id"], "operations": ["insert"]},
}
CONNECTION = {"url": "postgresql://tasks:hush@bank:5432/shop", "tables": TABLES}
INSERT = {"connection": "bank", "operation": "insert", "table": "accounts"}
UPDATE = {**INSERT, "operation": "update", "values": {"note": "x"}, "where": {"id": 1}}
DELETE = {**INSERT, "operation": "delete", "where": {"id": 1}}
UPSERT = {**INSERT, "operation": "upsert", "values": {"id": 1, "balance": 2}, "conflict": ["id"]}
INJECTIONS = [
    "accounts; DROP TABLE accounts",
    'accounts" SET balance = 0 --',
    "accounts`",
    "accounts'",
    "pg_catalog.pg_authid",
    "ACCOUNTS",
    "accounts\x00",
    "%s",
    "${input.table}",
    "扣款",
    "",
    " accounts",
]


@pytest.fixture(autouse=True)
def bank(settings: Any) -> None:
    register(settings, "bank", {"kind": "db", **CONNECTION})
    register(settings, "maria", {"kind": "db", **CONNECTION, "url": "mysql://tasks:hush@bank/shop"})
    register(settings, "other", {"kind": "http", "url": "http://bank"})
    register(settings, "sealed", {"kind": "db", **CONNECTION, "url": "${secrets.BANK_URL}"})


@pytest.mark.parametrize(
    "config",
    [
        INSERT,
        {**INSERT, "values": {"id": 1, "note": None}, "returning": ["id"], "expect_rows": 1},
        {**INSERT, "table": "bank.audit"},
        {**INSERT, "connection": "sealed"},
        UPDATE,
        {**UPDATE, "values": {"note": "${input.note}"}, "where": {"id": "${input.id}"}},
        {**INSERT, "operation": "update", "increment": {"balance": "${input.amount}"}, "where": {"id": "${input.id}"}},
        {**INSERT, "operation": "update", "decrement": {"balance": "0.10"}, "where": {"id": {"op": "is_not_null"}}},
        {**UPDATE, "where": {"id": {"op": "in", "value": "${input.ids}"}, "balance": {"op": ">=", "value": 0}}},
        DELETE,
        UPSERT,
        {**UPSERT, "values": {"id": 1}, "increment": {"balance": 1}},
        {**UPSERT, "values": {"id": 1, "note": {"op": "any object is a value"}}},
    ],
)
def test_sound_configurations(config: dict[str, Any]) -> None:
    assert EXECUTOR.check_config(config) == []


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "operation must be"),
        ({**INSERT, "sql": "DROP TABLE accounts"}, "unknown key sql"),
        ({**INSERT, "connection": 7}, "connection is required"),
        ({**INSERT, "connection": "${input.bank}"}, "connection is required"),
        ({**INSERT, "connection": "unheard"}, "no db connection named 'unheard'"),
        ({**INSERT, "connection": "other"}, "no db connection named 'other'"),
        ({**INSERT, "operation": "select"}, "operation must be"),
        ({**INSERT, "operation": ["insert"]}, "operation must be"),
        ({**INSERT, "operation": "${input.op}"}, "operation must be"),
        ({**INSERT, "table": None}, "table is required"),
        ({**INSERT, "table": "bank.audit", "operation": "delete", "where": {"id": 1}}, "does not allow delete"),
        ({**INSERT, "values": {}}, "values must be an object"),
        ({**INSERT, "values": ["id"]}, "values must be an object"),
        ({**INSERT, "values": {"secret_column": 1}}, "does not allow the column 'secret_column'"),
        ({**INSERT, "values": {"note": "a\0b"}}, "'note': has a character"),
        ({**INSERT, "values": {"note": float("inf")}}, "'note': must be a finite number"),
        ({**INSERT, "values": {"note": 10**2000}}, "'note': must be a finite number"),
        ({**INSERT, "where": {"id": 1}}, "where is not for insert"),
        ({**INSERT, "increment": {"balance": 1}}, "increment is not for insert"),
        ({**INSERT, "conflict": ["id"]}, "conflict is not for insert"),
        ({**INSERT, "returning": []}, "returning must be a list"),
        ({**INSERT, "returning": ["password"]}, "does not allow the column 'password'"),
        ({**INSERT, "connection": "maria", "returning": ["id"]}, "not available on MySQL"),
        ({**INSERT, "expect_rows": -1}, "expect_rows must be"),
        ({**INSERT, "expect_rows": True}, "expect_rows must be"),
        ({**INSERT, "expect_rows": "1"}, "expect_rows must be"),
        ({**INSERT, "operation": "update", "values": {"note": 1}}, "where is required for update"),
        ({**INSERT, "operation": "delete"}, "where is required for delete"),
        ({**DELETE, "where": {}}, "where must be an object"),
        ({**DELETE, "where": []}, "where must be an object"),
        ({**DELETE, "where": {"id": None}}, "null compares with nothing"),
        ({**DELETE, "where": {"id": [1, 2]}}, "compares with nothing"),
        ({**DELETE, "where": {"id": {}}}, "op must be one of"),
        ({**DELETE, "where": {"id": {"op": "LIKE", "value": "%"}}}, "op must be one of"),
        ({**DELETE, "where": {"id": {"op": "= 1 OR 1 =", "value": 1}}}, "op must be one of"),
        ({**DELETE, "where": {"id": {"op": ["="], "value": 1}}}, "op must be one of"),
        ({**DELETE, "where": {"id": {"op": "="}}}, "must have op, and value"),
        ({**DELETE, "where": {"id": {"op": "is_null", "value": 1}}}, "must have op, and value"),
        ({**DELETE, "where": {"id": {"op": "=", "value": 1, "or": 2}}}, "must have op, and value"),
        ({**DELETE, "where": {"id": {"op": "=", "value": None}}}, "null compares with nothing"),
        ({**DELETE, "where": {"id": {"op": "in", "value": [1, None]}}}, "null compares with nothing"),
        ({**DELETE, "where": {"id": {"op": "in", "value": "1"}}}, "in needs a list"),
        ({**DELETE, "where": {"id": {"op": "in", "value": [1] * 1001}}}, "in needs a list"),
        ({**DELETE, "where": {"1 = 1 OR id": 1}}, "does not allow the column"),
        ({**DELETE, "where": {"${input.column}": 1}}, "does not allow the column"),
        ({**UPDATE, "increment": {"balance": "1 + 1"}}, "'balance': must be a number"),
        ({**UPDATE, "increment": {"balance": True}}, "'balance': must be a number"),
        ({**UPDATE, "increment": {"balance": "NaN"}}, "'balance': must be a number"),
        ({**UPDATE, "increment": {"balance": "1e999999"}}, "'balance': must be a number"),
        ({**UPDATE, "increment": {"balance = 0, note": 1}}, "does not allow the column"),
        ({**UPDATE, "increment": {"note": 1}}, "'note' is changed twice"),
        ({**UPDATE, "increment": {"balance": 1}, "decrement": {"balance": 1}}, "'balance' is changed twice"),
        ({**INSERT, "operation": "upsert", "values": {"id": 1}}, "conflict is required"),
        ({**UPSERT, "conflict": ["note"]}, "the values have no note"),
        ({**UPSERT, "conflict": "id"}, "conflict must be a list"),
        ({**UPSERT, "conflict": ["id", "id) DO NOTHING --"]}, "does not allow the column"),
        ({**UPSERT, "values": {"balance": 2}, "increment": {"id": 1}}, "the values have no id"),
    ],
)
def test_unsound_configurations(config: dict[str, Any], said: str) -> None:
    problems = EXECUTOR.check_config(config)

    assert said in "\n".join(problems), problems


@pytest.mark.parametrize("name", INJECTIONS)
@pytest.mark.parametrize("where", ["table", "values", "where", "increment", "conflict", "returning"])
def test_no_name_is_taken_that_is_not_on_the_list(where: str, name: str) -> None:
    named = {
        "table": {"table": name},
        "values": {"values": {name: 1}},
        "where": {"where": {name: 1}},
        "increment": {"increment": {name: 1}},
        "conflict": {"conflict": [name]},
        "returning": {"returning": [name]},
    }[where]
    base = UPSERT if where == "conflict" else UPDATE

    assert EXECUTOR.check_config({**base, **named})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": 1}, "url is required"),
        ({"url": "sqlite:///x"}, "url is required"),
        ({"url": "postgresql://tasks@bank"}, "url is required"),
        ({"url": "postgresql://tasks@bank/a/b"}, "url is required"),
        ({"url": "postgresql://tasks:pa/ss@bank:port/shop"}, "url is required"),
        ({"url": "postgresql://tasks@bank/shop?sslmode=disable"}, "options have keys of their own"),
        ({"url": "postgresql://bank/shop"}, "a user is required"),
        ({"host": "bank"}, "unknown key host"),
        ({"password": 7}, "password must be a string"),
        ({"max_rows": 0}, "max_rows must be"),
        ({"max_rows": True}, "max_rows must be"),
        ({"max_rows": 10**6}, "max_rows must be"),
        ({"connect_seconds": 0}, "connect_seconds must be"),
        ({"tls": "maybe"}, "tls must be one of"),
        ({"create_barrier": "yes"}, "create_barrier must be"),
        ({"tables": {}}, "tables is required"),
        ({"tables": ["accounts"]}, "tables is required"),
        ({"tables": {"a.b.c": TABLES["accounts"]}}, "is not a name of a table"),
        ({"tables": {"a%s": TABLES["accounts"]}}, "is not a name of a table"),
        ({"tables": {"${secrets.X}": TABLES["accounts"]}}, "is not a name of a table"),
        ({"tables": {"dist_task_barrier": TABLES["accounts"]}}, "no task may change it"),
        ({"tables": {"public.dist_task_barrier": TABLES["accounts"]}}, "no task may change it"),
        ({"tables": {"a": {"columns": ["id"]}}}, "must have columns and operations"),
        ({"tables": {"a": {"columns": "*", "operations": ["insert"]}}}, "must be a list of names"),
        ({"tables": {"a": {"columns": [], "operations": ["insert"]}}}, "must be a list of names"),
        ({"tables": {"a": {"columns": ["x\n"], "operations": ["insert"]}}}, "must be a list of names"),
        ({"tables": {"a": {"columns": ["id"], "operations": ["truncate"]}}}, "must be a list of insert"),
        ({"tables": {"a": {"columns": ["id"], "operations": []}}}, "must be a list of insert"),
    ],
)
def test_unsound_connections(change: dict[str, Any], said: str) -> None:
    problems = "\n".join(EXECUTOR.check_connection({**CONNECTION, **change}))

    assert said in problems, problems
    assert "hush" not in problems and "pa" + "/ss" not in problems


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"url": "mariadb://bank/shop", "user": "tasks", "password": "${secrets.BANK}"},
        {"url": "postgresql://tasks:${secrets.BANK}@bank:5432/shop"},
        {"url": "postgresql:///shop", "socket": "/run/postgresql", "user": "tasks"},
        {"tls": "verify", "ca_file": "/etc/ca.pem", "max_rows": 1, "connect_seconds": 0.5, "create_barrier": True},
    ],
)
def test_sound_connections(change: dict[str, Any]) -> None:
    assert EXECUTOR.check_connection({**CONNECTION, **change}) == []


@pytest.mark.parametrize(
    ("config", "input", "said"),
    [
        (INSERT, {}, "there are no values"),
        (INSERT, {"id": 1, "is_admin": True}, "does not allow the column 'is_admin'"),
        (INSERT, {"${input.x}": 1}, "does not allow the column"),
        ({**UPDATE, "where": {"id": None}}, {}, "null compares with nothing"),
        ({**UPDATE, "where": {"id": {"op": "in", "value": "${input.ids}"}}}, {}, "in needs a list"),
        ({**UPDATE, "increment": {"balance": "${input.amount}"}}, {}, "must be a number"),
        (
            {**INSERT, "table": "bank.audit", "operation": "update", "where": {"id": 1}},
            {"id": 2},
            "does not allow update",
        ),
    ],
)
def test_an_attempt_is_judged_anew_with_its_values(config: dict[str, Any], input: dict[str, Any], said: str) -> None:
    with pytest.raises(ExecutionError) as caught:
        EXECUTOR.execute(TaskCall("txn", "pay", "action", -1, 1, config, input, 5.0))

    assert (caught.value.code, caught.value.permanent, caught.value.unknown) == ("INVALID_INPUT", True, False)
    assert said in str(caught.value)


def test_a_connection_that_is_gone_or_broken_is_said(settings: Any) -> None:
    register(settings, "broken", {"kind": "db", "url": "postgresql://x:hush@bank/shop"})
    codes = []
    for name in ("gone", "broken", "sealed"):
        with pytest.raises(ExecutionError) as caught:
            EXECUTOR.execute(TaskCall("txn", "pay", "action", -1, 1, {**INSERT, "connection": name}, {"id": 1}, 5.0))
        codes.append(caught.value.code)
        assert "hush" not in str(caught.value)

    assert codes == ["NO_CONNECTION", "BAD_CONNECTION", "NO_SECRET"]


@pytest.mark.parametrize("sql", [postgres.BARRIER_SQL, mysql.BARRIER_SQL])
def test_the_documents_show_the_table_as_it_is(sql: str) -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "executors.md").read_text(encoding="utf-8")

    assert sql in document
