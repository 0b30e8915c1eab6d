"""The effect of a db task happens exactly once, whatever happens to its attempts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dist_task.errors import ExecutionError
from tests.engine.worker import wait_for

from .conftest import DbTask, register, verdict
from .relay import Cut, Relay
from .shops import Shop

TAKE = {"operation": "update", "decrement": {"balance": 10}, "where": {"id": "ann"}, "expect_rows": 1}
GIVE_BACK = {"operation": "update", "increment": {"balance": 10}, "where": {"id": "ann"}, "expect_rows": 1}


def test_a_later_attempt_answers_the_same_and_touches_nothing(shop: Shop, db: DbTask) -> None:
    outputs = [db(**TAKE) for _attempt in range(3)]

    assert outputs == [{"rows": 1}] * 3
    assert shop.balance("ann") == 90
    assert shop.barrier == [("txn_1", "pay", "action", "action")]


def test_it_answers_what_the_first_one_gave_to_the_letter(shop: Shop, db: DbTask) -> None:
    insert = {"operation": "insert", "table": "orders", "values": {"account": "ann"}}
    returning = {} if shop.dialect == "mysql" else {"returning": ["id", "account"]}

    first, second = (db(**insert, **returning) for _attempt in range(2))

    assert first == second
    assert len(first) == 2
    assert len(shop.run("SELECT * FROM orders")) == 1


def test_every_transaction_and_every_item_has_an_effect_of_its_own(shop: Shop, db: DbTask) -> None:
    for run, item in (("a", -1), ("b", -1), ("b", 0), ("b", 1), ("B", -1), ("b", 1)):
        db(run=run, item=item, **TAKE)

    assert shop.balance("ann") == 50


def test_an_attempt_that_was_retried_with_other_values_does_not_act_again(shop: Shop, db: DbTask) -> None:
    db(**TAKE)

    db(**{**TAKE, "decrement": {"balance": 99}, "where": {"id": "bob"}})

    assert (shop.balance("ann"), shop.balance("bob")) == (90, 0)


def test_a_compensation_undoes_once(shop: Shop, db: DbTask) -> None:
    db(**TAKE)

    outputs = [db(op="compensate", **GIVE_BACK) for _attempt in range(2)]

    assert outputs == [{"rows": 1}] * 2
    assert shop.balance("ann") == 100


def test_the_compensation_of_what_never_ran_does_nothing(shop: Shop, db: DbTask) -> None:
    outputs = [db(op="compensate", **GIVE_BACK) for _attempt in range(2)]

    assert outputs == [None, None]
    assert shop.balance("ann") == 100


def test_an_action_that_comes_after_its_compensation_does_nothing(shop: Shop, db: DbTask) -> None:
    db(op="compensate", **GIVE_BACK)

    result = db.result(input=None, run="txn_1", op="action", item=-1, seconds=20.0, **TAKE)

    assert (result.output, result.response) == (None, {"output": None, "passage": "late"})
    assert shop.balance("ann") == 100


def test_many_attempts_at_once_have_one_effect(shop: Shop, db: DbTask) -> None:
    with ThreadPoolExecutor(8) as threads:
        outputs = list(threads.map(lambda _number: insisting(db, **TAKE), range(8)))

    assert outputs == [{"rows": 1}] * 8
    assert shop.balance("ann") == 90


def test_actions_and_compensations_at_once_leave_nothing(shop: Shop, db: DbTask) -> None:
    works = [TAKE, {"op": "compensate", **GIVE_BACK}] * 4

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda work: insisting(db, **work), works))

    assert shop.balance("ann") == 100


def insisting(db: DbTask, **config: Any) -> Any:
    """As the engine does with what is retryable, and with nothing else."""
    for _attempt in range(100):
        try:
            return db(**config)
        except ExecutionError as error:
            assert not error.permanent and not error.unknown, error
    raise AssertionError("a hundred attempts were not enough")


def test_an_attempt_waits_for_the_end_of_one_that_a_dead_worker_left(shop: Shop, db: DbTask) -> None:
    dead = shop.other()
    row = "('txn_1', 'pay', 'action', '1', 'action', NULL)"
    with dead.cursor() as cursor:
        cursor.execute(f"INSERT INTO dist_task_barrier (gid, branch_id, op, barrier_id, reason, answer) VALUES {row}")  # noqa: S608

    error = db.failure(seconds=1.5, **TAKE)
    dead.rollback()
    dead.close()

    assert verdict(error)[1:] == (False, False)
    assert shop.balance("ann") == 100
    assert db(**TAKE) == {"rows": 1}


@pytest.mark.parametrize("cut", Cut)
def test_a_commit_whose_answer_was_lost_is_unknown_and_the_retry_is_safe(
    shop: Shop, db: DbTask, relay: Relay, cut: Cut
) -> None:
    relay.plan = cut

    error = db.failure(seconds=2.0, **TAKE)
    wait_for(lambda: shop.balance("ann") == (100 if cut == Cut.BEFORE else 90))
    output = db(**TAKE)

    assert verdict(error) == ("COMMIT_UNKNOWN", True, False)
    assert output == {"rows": 1}
    assert shop.balance("ann") == 90


# -- the table --


def test_without_its_table_nothing_is_done_and_the_failure_says_how_to_make_it(shop: Shop, db: DbTask) -> None:
    shop.run("DROP TABLE dist_task_barrier")

    error = db.failure(**TAKE)

    assert verdict(error) == ("NO_BARRIER_TABLE", False, True)
    assert shop.balance("ann") == 100
    shop.run(str(error).partition("make it: ")[2])
    shop.run(f"GRANT SELECT, INSERT, UPDATE ON dist_task_barrier TO {role(shop)}")
    assert db(**TAKE) == {"rows": 1}


def test_the_table_is_made_where_the_connection_says_so(shop: Shop, db: DbTask, settings: Any) -> None:
    shop.run("DROP TABLE dist_task_barrier")
    shop.run(may_create(shop))
    register(settings, "shop", shop.config(create_barrier=True))

    with ThreadPoolExecutor(4) as threads:
        outputs = list(threads.map(lambda number: insisting(db, run=f"txn_{number}", **TAKE), range(4)))

    assert outputs == [{"rows": 1}] * 4
    assert (shop.balance("ann"), len(shop.barrier)) == (60, 4)


def role(shop: Shop) -> str:
    return shop.role if shop.dialect == "postgresql" else f"{shop.role}@'127.0.0.1'"


def may_create(shop: Shop) -> str:
    if shop.dialect == "postgresql":
        return f"GRANT CREATE ON SCHEMA public TO {shop.role}"
    return f"GRANT CREATE, SELECT, INSERT, UPDATE, INDEX ON tests.* TO {role(shop)}"


@pytest.mark.parametrize("table", ["accounts", "dist_task_barrier"])
def test_a_table_that_cannot_be_rolled_back_is_refused(maria: Shop, db: DbTask, table: str) -> None:
    maria.run("DROP TABLE orders")
    maria.run(f"ALTER TABLE {table} ENGINE = Aria TRANSACTIONAL = 0")

    error = db.failure(**TAKE)

    assert verdict(error) == ("NO_TRANSACTIONS", False, True)
    assert (maria.balance("ann"), maria.barrier) == (100, [])
