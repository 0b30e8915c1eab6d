"""Operators repair failed orders in a browser: real HTTP, a real cluster, services that are mended in between."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.conftest import DESKTOP, watched
from tests.browser.desk import PATIENCE, Desk, employ
from tests.engine.service import Answer, Call, Service
from tests.house.conftest import until
from tests.house.supervisor import Supervisor
from tests.story.conftest import Client, client, house, http_task

__all__ = ["client", "house"]  # fixtures

pytestmark = [pytest.mark.browser, pytest.mark.cluster, pytest.mark.slow]
IN_STOCK = Answer(200, {"warehouse": 7})
SOLD_OUT = Answer(409, {"code": "OUT_OF_STOCK", "message": "tea is sold out in warehouse 7"})
NO_STREET = Answer(422, {"code": "NO_ADDRESS", "message": "there is no such street"})
AMOUNT = {"order": {"amount": 100}}


@pytest.fixture(scope="module")
def staff(house: Supervisor) -> None:
    employ(house, name="ana", role="operator")
    employ(house, name="cleo", role="supervisor")


@pytest.fixture
def desk_of(browser: Any, house: Supervisor, staff: None) -> Iterator[Callable[[str], Desk]]:
    """Signs somebody in; at the end no browser has complained, or asked another host."""
    contexts, desks = [], []

    def sit_down(name: str) -> Desk:
        address = f"http://127.0.0.1:{house.port}"
        contexts.append(browser.new_context(base_url=address, viewport=DESKTOP, locale="en-GB"))
        desks.append(Desk(watched(contexts[-1].new_page()), name))
        desks[-1].sign_in()
        return desks[-1]

    yield sit_down
    for context in contexts:
        context.close()
    for desk in desks:
        assert desk.window.said == []
        assert desk.window.hosts == {f"127.0.0.1:{house.port}"}


@pytest.fixture
def orders(client: Client, service: Service) -> str:
    """The flow's id: an order is taken, paid and reserved, and shipped with what the warehouse has said."""
    parcel = {"input": {"warehouse": "${tasks.stock.output.warehouse}"}}
    return client.flow(
        "orders",
        http_task("order", service),
        http_task("pay", service, "order", compensate={"config": {"url": service.url("/refund")}}),
        http_task("stock", service, "pay", compensate={"config": {"url": service.url("/release")}}),
        http_task("ship", service, "stock", **parcel),
    )


def open_exceptions(client: Client) -> int:
    return len(client.data("GET", "/api/v1/exceptions?handled=false&page_size=200")["list"])


def order_of(calls: list[Call]) -> list[str]:
    return [call.path for call in calls]


def test_an_operator_repairs_a_failed_order(
    client: Client, service: Service, orders: str, desk_of: Callable[[str], Desk]
) -> None:
    service.answer("/stock", SOLD_OUT)
    gate = service.hold("/ship")
    ana = desk_of("ana")
    before = ana.needing_a_person()

    client.start("tea-1", orders, **AMOUNT)
    assert client.ended("tea-1")["status"] == "failed"
    ana.wait_for_count(before + 1)
    assert open_exceptions(client) == before + 1

    ana.go("Exceptions")
    ana.page.get_by_role("link", name="tea-1").click()
    ana.heading("stock: OUT_OF_STOCK")
    ana.sees("tea is sold out in warehouse 7")
    assert ana.table("Log").locator("tbody tr").count() == 1

    ana.page.get_by_role("link", name="tea-1").click()
    ana.heading("tea-1")
    assert "failed" in ana.state()
    ana.sees("1 exception needs a person.")
    assert ana.page.locator(".graph .node-failed").get_by_role("link", name="stock").count() == 1
    assert ana.page.locator(".graph .node-success").count() == 2
    assert ana.table("Timeline").locator("tbody tr").count() == 3
    assert ana.page.get_by_role("button", name="Compensate…").count() == 0  # not an operator's

    ana.page.locator(".why a").click()
    ana.press("Retry…")
    ana.sees("The failed task of each exception runs again after the delay.")
    assert len(service.calls_of("/stock")) == 1
    service.answer("/stock", IN_STOCK)
    ana.page.get_by_label("Delay in seconds").fill("0")
    ana.confirm("the warehouse got new tea")
    until(lambda: service.in_progress["/ship"] == 1)

    ana.jump("tea-1")
    assert "running" in ana.state()
    ana.keep_in_view()
    gate.set()
    ana.page.locator(".row-head .state-success").wait_for(timeout=PATIENCE)
    ana.wait_for_count(before)
    assert ana.is_still_in_view

    ana.go("Audit")
    entry = ana.table("Audit").get_by_role("row").filter(has_text="tea-1")
    assert entry.count() == 1
    for said in ("ana", "retry asked for", "the warehouse got new tea"):
        assert said in entry.inner_text()
    assert order_of(service.calls) == ["/order", "/pay", "/stock", "/stock", "/ship"]


def test_a_supervisor_skips_with_an_output_that_later_tasks_get(
    client: Client, service: Service, orders: str, desk_of: Callable[[str], Desk]
) -> None:
    service.answer("/stock", SOLD_OUT)
    client.start("tea-2", orders, **AMOUNT)
    assert client.ended("tea-2")["status"] == "failed"
    cleo = desk_of("cleo")

    cleo.jump("tea-2")
    cleo.page.locator(".why a").click()
    cleo.press("Skip…")
    cleo.page.get_by_label("Output").fill(json.dumps({"warehouse": 9}))
    cleo.confirm("sent by hand from warehouse 9")
    assert client.ended("tea-2")["status"] == "success"

    cleo.jump("tea-2")
    assert "success" in cleo.state()
    assert cleo.page.locator(".graph .node-skipped").get_by_role("link", name="stock").count() == 1
    cleo.page.locator(".graph").get_by_role("link", name="stock").click()
    assert '"warehouse": 9' in cleo.page.locator("#task").inner_text()
    operation = cleo.table("Operations").get_by_role("row").filter(has_text="cleo")
    assert "sent by hand from warehouse 9" in operation.inner_text()
    assert order_of(service.calls) == ["/order", "/pay", "/stock", "/ship"]
    assert service.calls_of("/ship")[0].body == {"warehouse": 9}


def test_a_supervisor_undoes_an_order_and_sees_what_was_undone(
    client: Client, service: Service, orders: str, desk_of: Callable[[str], Desk]
) -> None:
    service.answer("/stock", IN_STOCK)
    service.answer("/ship", NO_STREET)
    gate = service.hold("/refund")
    client.start("tea-3", orders, **AMOUNT)
    assert client.ended("tea-3")["status"] == "failed"
    cleo = desk_of("cleo")

    cleo.jump("tea-3")
    cleo.press("Compensate…")
    cleo.sees("undone in this order: stock → pay")
    cleo.sees("passed over, since they say no compensation: order")
    assert order_of(service.calls) == ["/order", "/pay", "/stock", "/ship"]
    cleo.confirm("the customer gave up")
    until(lambda: service.in_progress["/refund"] == 1)

    cleo.jump("tea-3")
    cleo.keep_in_view()
    assert cleo.page.locator(".row-head .state-running").count() == 1
    gate.set()
    cleo.page.locator(".row-head .state-done").wait_for(timeout=PATIENCE)
    assert cleo.is_still_in_view
    assert cleo.page.locator(".graph .undo-success").count() == 2
    assert "the customer gave up" in cleo.table("Operations").inner_text()
    assert order_of(service.calls) == ["/order", "/pay", "/stock", "/ship", "/release", "/refund"]
    for action, undo in (("/stock", "/release"), ("/pay", "/refund")):
        assert len(service.calls_of(action)) == len(service.calls_of(undo)) == 1


@pytest.mark.parametrize("count", [30, pytest.param(1_000, marks=pytest.mark.large)])
def test_a_supervisor_retries_a_whole_group(
    count: int, client: Client, service: Service, desk_of: Callable[[str], Desk]
) -> None:
    """Each of them fails the same way; each is called exactly once more."""
    path = f"/bulk{count}"
    flow_id = client.flow(f"bulk_{count}", http_task("bulk", service, config={"url": service.url(path)}))
    service.answer(path, *[Answer(409, {"code": "CLOSED", "message": "the bank is closed"})] * count)
    names = [f"bulk-{count}-{number}" for number in range(count)]
    for name in names:
        client.start(name, flow_id, name=name)
    until(lambda: len(service.calls_of(path)) == count)
    assert {client.ended(name)["status"] for name in names} == {"failed"}
    cleo = desk_of("cleo")

    cleo.go("Exceptions")
    cleo.page.get_by_role("link", name="Groups").click()
    group = cleo.table("Groups").get_by_role("row").filter(has_text=f"bulk_{count}")
    assert "the bank is closed" in group.inner_text()
    assert group.locator("td.number strong").inner_text() == str(count)
    group.get_by_role("link", name="Retry group…").click()
    cleo.sees(f"{count} rows match.")
    cleo.sees("all would be done")
    assert len(service.calls_of(path)) == count

    cleo.page.get_by_label("Delay in seconds").fill("0")
    cleo.page.get_by_label("Items per second at most").fill("20" if count < 100 else "200")
    cleo.page.get_by_label("Remark").fill("the bank has opened")
    cleo.press("Make the batch")
    cleo.heading("Retry exceptions")
    cleo.keep_in_view()
    cleo.page.locator(".row-head .state-success").wait_for(timeout=PATIENCE * 5)
    assert cleo.is_still_in_view
    assert cleo.page.get_by_text(f"{count}/{count}").is_visible()

    assert {client.ended(name)["status"] for name in names} == {"success"}
    assert Counter(call.body["name"] for call in service.calls_of(path)) == dict.fromkeys(names, 2)
    cleo.go("Exceptions")
    cleo.page.get_by_role("link", name="Groups").click()
    cleo.heading("Groups of exceptions")
    assert cleo.page.get_by_text(f"bulk_{count}").count() == 0
    cleo.jump(names[-1])
    assert "the bank has opened" in cleo.table("Operations").inner_text()
