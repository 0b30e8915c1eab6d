"""Whatever order and number the calls come in: the money moves once, and a compensated transfer nets to zero."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from dist_task.barrier import Call
from tests.house.conftest import until

from .bank import AMOUNT, Bank

ACTION = Call("order_1", "pay", op="action")
COMPENSATE = Call("order_1", "pay", op="compensate")


def test_the_work_is_done(bank: Bank) -> None:
    turn = bank.answer(ACTION)

    assert turn.is_mine
    assert bank.amount == AMOUNT - 10


def test_the_second_attempt_does_nothing_and_answers_like_the_first(bank: Bank) -> None:
    first = bank.answer(ACTION)

    second = bank.answer(ACTION)

    assert (second.is_mine, second.answer) == (False, first.answer)
    assert bank.amount == AMOUNT - 10


def test_a_compensation_undoes_once(bank: Bank) -> None:
    bank.answer(ACTION)

    turns = [bank.answer(COMPENSATE), bank.answer(COMPENSATE)]

    assert [turn.is_mine for turn in turns] == [True, False]
    assert bank.amount == AMOUNT


def test_a_compensation_before_its_action_is_empty_and_refuses_it_for_ever(bank: Bank) -> None:
    turns = [bank.answer(COMPENSATE), bank.answer(ACTION), bank.answer(COMPENSATE), bank.answer(ACTION)]

    assert [(turn.is_mine, turn.answer) for turn in turns] == [(False, None)] * 4
    assert bank.amount == AMOUNT


def test_an_action_after_its_compensation_does_nothing(bank: Bank) -> None:
    bank.answer(ACTION)
    bank.answer(COMPENSATE)

    late = bank.answer(ACTION)

    assert not late.is_mine
    assert bank.amount == AMOUNT


def test_what_was_rolled_back_can_be_done_again(bank: Bank) -> None:
    bank.refuse(ACTION)
    assert bank.amount == AMOUNT

    turn = bank.answer(ACTION)

    assert turn.is_mine
    assert bank.amount == AMOUNT - 10


def test_a_refused_action_is_compensated_by_nothing(bank: Bank) -> None:
    bank.refuse(ACTION)

    turn = bank.answer(COMPENSATE)

    assert not turn.is_mine
    assert bank.amount == AMOUNT


def test_a_compensation_that_was_rolled_back_can_be_done_again(bank: Bank) -> None:
    bank.answer(ACTION)
    bank.refuse(COMPENSATE)

    turn = bank.answer(COMPENSATE)

    assert turn.is_mine
    assert bank.amount == AMOUNT


def test_of_two_at_once_the_second_waits_and_finds_the_firsts_answer(bank: Bank) -> None:
    with ThreadPoolExecutor(1) as pool:
        with bank.held(ACTION) as first:
            second = pool.submit(bank.answer, ACTION)
            until(bank.database.is_waiting)

        assert (first.result().is_mine, second.result().is_mine) == (True, False)
        assert second.result().answer == first.result().answer
    assert bank.amount == AMOUNT - 10


def test_of_two_at_once_the_second_does_it_when_the_first_is_rolled_back(bank: Bank) -> None:
    with ThreadPoolExecutor(1) as pool:
        with bank.held(ACTION, refuse=True):
            second = pool.submit(bank.answer, ACTION)
            until(bank.database.is_waiting)

        assert second.result().is_mine
    assert bank.amount == AMOUNT - 10


@pytest.mark.parametrize("bank", ["driver"], indirect=True)
def test_of_many_at_once_one_does_it_when_the_first_is_rolled_back(bank: Bank) -> None:
    """MySQL ends the wait of the others as a deadlock: they have an error to answer, and come again."""
    with ThreadPoolExecutor(4) as pool:
        with bank.held(ACTION, refuse=True):
            others = [pool.submit(bank.answer, ACTION) for _ in range(4)]
            until(bank.database.is_waiting)

        answered = [other.result() for other in others if other.exception() is None]
    assert [turn.is_mine for turn in answered].count(True) == 1
    assert bank.amount == AMOUNT - 10
    assert not bank.answer(ACTION).is_mine


def test_a_compensation_waits_for_the_action_that_is_under_way_and_undoes_it(bank: Bank) -> None:
    with ThreadPoolExecutor(1) as pool:
        with bank.held(ACTION):
            undone = pool.submit(bank.answer, COMPENSATE)
            until(bank.database.is_waiting)

        assert undone.result().is_mine
    assert bank.amount == AMOUNT


def test_a_compensation_waits_for_the_action_that_is_rolled_back_and_is_empty(bank: Bank) -> None:
    with ThreadPoolExecutor(1) as pool:
        with bank.held(ACTION, refuse=True):
            undone = pool.submit(bank.answer, COMPENSATE)
            until(bank.database.is_waiting)

        assert not undone.result().is_mine
    assert bank.amount == AMOUNT


def test_an_action_that_comes_while_its_empty_compensation_runs_is_refused(bank: Bank) -> None:
    with ThreadPoolExecutor(1) as pool:
        with bank.held(COMPENSATE):
            late = pool.submit(bank.answer, ACTION)
            until(bank.database.is_waiting)

        assert not late.result().is_mine
    assert bank.amount == AMOUNT


def test_an_attempt_that_comes_while_its_compensation_runs_does_nothing(bank: Bank) -> None:
    bank.answer(ACTION)

    with ThreadPoolExecutor(1) as pool:
        with bank.held(COMPENSATE):
            late = pool.submit(bank.answer, ACTION)

        assert not late.result().is_mine
    assert bank.amount == AMOUNT


def test_calls_of_other_tasks_items_and_transactions_are_others(bank: Bank) -> None:
    calls = [
        Call("order_1", "pay", op="action"),
        Call("Order_1", "pay", op="action"),
        Call("order_1", "Pay", op="action"),
        Call("order_1", "pay", op="action", item=0),
        Call("order_1", "pay", op="action", item=1),
        Call("ordér_1", "pay", op="action"),
        Call("订单_1", "pay", op="action"),
    ]

    turns = [bank.answer(call) for call in calls]

    assert all(turn.is_mine for turn in turns)
    assert bank.amount == AMOUNT - 10 * len(calls)
