"""A request becomes rows, once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from dist_task.engine.start import Started, StartRequest, check_instance_id, start, start_many
from dist_task.errors import Conflict, InvalidRequest, NotFound
from dist_task.models import StatDelta
from transactions.models import Transaction

from .conftest import make_flow


@pytest.mark.django_db
def test_the_same_start_twice_is_the_same_transaction() -> None:
    request = StartRequest("order_1", make_flow().pk, {"a": {"n": 1}})

    first, second = start(request), start(request)

    assert (first.created, second.created, second.status) == (True, False, "pending")
    assert Transaction.objects.count() == 1
    assert StatDelta.objects.count() == 1


@pytest.mark.django_db
def test_another_flow_or_other_params_under_the_same_id_are_a_conflict() -> None:
    flow = make_flow()
    start(StartRequest("order_1", flow.pk, {"a": 1}))

    for other in (StartRequest("order_1", flow.pk, {"a": 2}), StartRequest("order_1", make_flow().pk, {"a": 1})):
        with pytest.raises(Conflict):
            start(other)
    assert Transaction.objects.get().params == {"a": 1}


@pytest.mark.django_db
def test_a_flow_that_is_unknown_or_inactive_starts_nothing() -> None:
    flow = make_flow()
    type(flow).objects.filter(pk=flow.pk).update(is_active=False)

    with pytest.raises(NotFound, match="does not exist"):
        start(StartRequest("order_1", "nothing", {}))
    with pytest.raises(InvalidRequest, match="not active"):
        start(StartRequest("order_1", flow.pk, {}))
    assert not Transaction.objects.exists()


@pytest.mark.django_db
def test_a_start_that_was_made_is_answered_after_its_flow_was_switched_off() -> None:
    flow = make_flow()
    start(StartRequest("order_1", flow.pk, {}))
    type(flow).objects.filter(pk=flow.pk).update(is_active=False)

    assert start(StartRequest("order_1", flow.pk, {})).created is False


BAD_IDS: list[Any] = ["", "a" * 65, "a b", "a\tb", "a\x00b", "a/b", "a\\b", "a?b", "a#b", "a%b", ".", "..", "batch", 7]


@pytest.mark.parametrize("value", [*BAD_IDS, None, "\ud800", "a\u2028b"])
def test_a_malformed_instance_id_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="instance_id"):
        check_instance_id(value)


@pytest.mark.parametrize("value", ["a", "a" * 64, "order_001", "订单-1", "a.b:c", "batch2", "..."])
def test_other_ids_are_fine(value: str) -> None:
    assert check_instance_id(value) == value


@pytest.mark.django_db
def test_a_batch_has_a_result_for_each_of_its_starts() -> None:
    flow = make_flow()
    start(StartRequest("old", flow.pk, {}))

    results = start_many(
        [
            StartRequest("new", flow.pk, {"n": 1}),
            StartRequest("old", flow.pk, {}),
            StartRequest("old", flow.pk, {"n": 2}),
            StartRequest("new", flow.pk, {"n": 1}),
            StartRequest("new", flow.pk, {"n": 3}),
            StartRequest("lost", "nothing", {}),
            StartRequest("a b", flow.pk, {}),
        ]
    )

    assert [type(result) for result in results] == [
        Started,
        Started,
        Conflict,
        Started,
        Conflict,
        NotFound,
        InvalidRequest,
    ]
    assert [result.created for result in results if isinstance(result, Started)] == [True, False, False]
    assert set(Transaction.objects.values_list("instance_id", flat=True)) == {"old", "new"}


@pytest.mark.django_db(transaction=True)
def test_fifty_simultaneous_starts_of_one_id_make_one_run() -> None:
    flow = make_flow()

    def start_it(_: int) -> bool:
        try:
            return start(StartRequest("order_1", flow.pk, {"n": 1})).created
        finally:
            connections.close_all()

    with ThreadPoolExecutor(10) as pool:
        created = list(pool.map(start_it, range(50)))

    assert created.count(True) == 1
    assert Transaction.objects.count() == 1
