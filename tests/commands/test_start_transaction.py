from __future__ import annotations

import pytest

from flows.models import Flow
from tests.commands.rows import make_flow, succeed_one
from transactions.models import Transaction

pytestmark = pytest.mark.django_db


def test_it_starts_by_the_flows_id(run):
    flow = make_flow()

    ran = run("start_transaction", "a", flow.pk, "--params", '{"n": 1}')

    assert (ran.code, ran.out) == (0, f"a started: flow {flow.pk}, status pending\n")
    txn = Transaction.objects.get(instance_id="a")
    assert txn.params == {"n": 1}
    assert txn.created_by.startswith("command:")


def test_a_name_means_its_latest_active_version(run):
    first = make_flow()
    second = make_flow(strategy="auto")

    run("start_transaction", "a", "orders")
    Flow.objects.filter(pk=second.pk).update(is_active=False)
    run("start_transaction", "b", "orders")

    assert [txn.flow_id for txn in Transaction.objects.order_by("pk")] == [second.pk, first.pk]


def test_starting_twice_is_harmless_and_other_params_are_refused(run, tmp_path):
    flow = make_flow()
    params = tmp_path / "params.json"
    params.write_text('{"n": 1}')
    run("start_transaction", "a", flow.pk, "--params-file", str(params))

    again = run("start_transaction", "a", flow.pk, "--params-file", str(params))
    other = run("start_transaction", "a", flow.pk, "--params", '{"n": 2}')

    assert (again.code, "was started before" in again.out) == (0, True)
    assert (other.code, "is taken" in other.err) == (1, True)


def test_waiting_ends_with_the_status(run):
    succeed_one("a", flow=make_flow())

    ran = run("start_transaction", "a", "orders", "--params", '{"n": 1}', "--wait", "5")

    assert (ran.code, ran.out.splitlines()[-1]) == (0, "a: success")


def test_waiting_in_vain_is_a_failure(run):
    make_flow()

    ran = run("start_transaction", "a", "orders", "--wait", "0.2")

    assert (ran.code, "has not ended" in ran.err) == (1, True)


@pytest.mark.parametrize("params", ["{", "[1]", '{"n": NaN}', '{"n": "\\ud800"}'])
def test_params_that_are_not_a_json_object_are_wrong_arguments(run, params):
    make_flow()

    assert run("start_transaction", "a", "orders", "--params", params).code == 2
    assert not Transaction.objects.exists()


def test_a_bad_instance_id_is_a_wrong_argument_and_an_unknown_flow_a_failure(run):
    make_flow()

    assert run("start_transaction", "a/b", "orders").code == 2
    assert run("start_transaction", "a", "nosuchflow").code == 1
