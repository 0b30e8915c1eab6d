"""A property: whatever comes, each transfer is done at most once, and undone at most once, and only what was done."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing, suppress

from hypothesis import given
from hypothesis import strategies as st

from dist_task.barrier import Call, barrier, create_table

from .bank import Refused

CALLS = st.builds(
    Call,
    instance_id=st.sampled_from(["order_1", "order_2"]),
    task_id=st.sampled_from(["pay", "ship"]),
    op=st.sampled_from(["action", "compensate"]),
    item=st.sampled_from([-1, 0]),
)
DELIVERIES = st.lists(st.tuples(CALLS, st.booleans()), max_size=40)

Key = tuple[str, str]


def balances(deliveries: list[tuple[Call, bool]]) -> tuple[Counter[Key], set[Key]]:
    """The money that moved for each task run in the end, and those whose compensation was answered with success."""
    compensated = set()
    with closing(sqlite3.connect(":memory:")) as connection:
        create_table(connection)
        connection.execute("CREATE TABLE moved (gid text, branch_id text, amount integer)")
        for call, is_refused in deliveries:
            key = (call.instance_id, call.branch_id)
            with suppress(Refused), barrier(connection, call) as turn:
                if turn.is_mine:
                    amount = 1 if call.op == "action" else -1
                    connection.execute("INSERT INTO moved VALUES (?, ?, ?)", (*key, amount))
                    if is_refused:
                        raise Refused
                if call.op == "compensate":
                    compensated.add(key)
        rows = connection.execute("SELECT gid, branch_id, sum(amount) FROM moved GROUP BY gid, branch_id")
        return Counter({(gid, branch_id): amount for gid, branch_id, amount in rows}), compensated


@given(DELIVERIES)
def test_money_moves_at_most_once_and_a_compensated_transfer_nets_to_zero(deliveries: list[tuple[Call, bool]]) -> None:
    moved, compensated = balances(deliveries)

    assert set(moved.values()) <= {0, 1}
    assert {key for key, amount in moved.items() if amount} & compensated == set()


@given(DELIVERIES)
def test_what_was_asked_for_until_it_succeeded_is_done(deliveries: list[tuple[Call, bool]]) -> None:
    actions = [(call, is_refused) for call, is_refused in deliveries if call.op == "action"]

    moved, _ = balances([*actions, *((call, False) for call, _ in actions)])

    assert moved == {(call.instance_id, call.branch_id): 1 for call, _ in actions}
