"""Saved views: filters under a name, above the lists that they are of; whose they are, and what is never kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from dist_task.saved_views.models import LONGEST_NAME, MOST_OWN, SavedView
from exceptions_app.models import ExceptionRecord
from tests.admin.conftest import HOSTILE

TRANSACTIONS = "/admin/transactions/transaction/"
INBOX = "/admin/exceptions_app/exceptionrecord/"


def save(client: Client, query: str, *, name: str = "bank", of: str = TRANSACTIONS, **more: str) -> Any:
    return client.post(f"{of}views/", {"query": query, "name": name, **more})


def said(client: Client, answer: Any) -> str:
    return str(client.get(answer["Location"]).content.decode())


def names(client: Client, of: str = TRANSACTIONS) -> list[str]:
    return [link.name for link in client.get(of).context["views"].links]


@pytest.mark.parametrize("of", [TRANSACTIONS, INBOX])
def test_a_view_is_saved_shown_opened_and_deleted(of: str, root: Client, record: ExceptionRecord) -> None:
    saved = save(root, "flow_name=orders&status=all&after=7", of=of) if of == INBOX else save(root, "flow_name=orders")
    page = root.get(saved["Location"])

    (link,) = page.context["views"].links
    assert (link.name, link.is_current, link.owner) == ("bank", True, "")
    assert b"The view bank was saved." in page.content
    assert page.context["cl"].result_list
    opened = root.get(f"{of}views/{link.pk}/")
    assert opened["Location"] == saved["Location"]
    gone = root.post(f"{of}views/", {"delete": "yes", "view": str(link.pk)})
    assert "The view bank was deleted." in said(root, gone)
    assert names(root, of) == []


def test_of_an_address_the_filters_are_kept_in_one_order_and_nothing_else(root: Client) -> None:
    query = "status=failed&flow_name=a+b%26c&nope=1&after=9&p=3&status=pending&next=https://evil.example/&compensation="

    answer = save(root, query)

    assert SavedView.objects.get().query == "flow_name=a+b%26c&status=pending"
    assert answer["Location"] == f"{TRANSACTIONS}?flow_name=a+b%26c&status=pending"


@pytest.mark.parametrize(
    "query",
    [
        "https://evil.example/?status=failed",
        "//evil.example",
        "?status=failed",
        "\0",
        "%00=1",
        "status=%00",
        "a" * 20_000,
    ]
    + ["&".join(f"a{n}=1" for n in range(200))],
)
def test_what_is_no_filter_is_neither_kept_nor_led_to(query: str, root: Client) -> None:
    answer = save(root, query)

    assert answer["Location"].startswith(TRANSACTIONS) and "evil" not in answer["Location"]
    assert "There is no filter to save" in said(root, answer)
    assert not SavedView.objects.exists()


@pytest.mark.parametrize("query", ["status=nonsense", "created_after=yesterday", f"flow_name={'x' * 101}"])
def test_filters_that_are_wrong_are_not_saved(query: str, root: Client) -> None:
    assert "The filters are wrong: mend them first." in said(root, save(root, query))
    assert not SavedView.objects.exists()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "A view needs a name."),
        (" \t ", "A view needs a name."),
        ("x" * (LONGEST_NAME + 1), "A name has at most 60 characters."),
        ("a\r\nb", "Has a line break or another control character."),
        ("a\0b", "Has a line break or another control character."),
        ("a\x1bb", "Has a line break or another control character."),
    ],
)
def test_a_name_that_is_none_is_refused(name: str, why: str, root: Client) -> None:
    assert why in said(root, save(root, "status=failed", name=name))
    assert not SavedView.objects.exists()


def test_a_name_is_taken_once_per_list(root: Client) -> None:
    save(root, "status=failed")

    again = save(root, "status=pending")
    save(root, "status=handled", of=INBOX)

    assert "You have a view named bank: delete it first." in said(root, again)
    assert names(root) == names(root, INBOX) == ["bank"]
    assert SavedView.objects.get(page="transactions").query == "status=failed"


def test_hostile_names_are_text(root: Client) -> None:
    name = "<script>alert(1)</script>\u202egnp.exe"
    page = said(root, save(root, f"flow_name={HOSTILE[:30]}", name=name))

    assert "&lt;script&gt;alert(1)" in page and "\\u202e" in page
    assert "<script>alert" not in page and "\u202e" not in page


def test_ones_own_are_seen_by_nobody_else(sign_in: Callable[..., Client]) -> None:
    operator, supervisor = sign_in("operator"), sign_in("supervisor")
    save(operator, "status=failed")
    view = SavedView.objects.get()

    assert names(supervisor) == []
    assert supervisor.get(f"{TRANSACTIONS}views/{view.pk}/").status_code == 404
    answer = supervisor.post(f"{TRANSACTIONS}views/", {"delete": "yes", "view": str(view.pk)})
    assert "You have no such view." in said(supervisor, answer)
    assert SavedView.objects.exists()


def test_shared_ones_are_seen_by_all_and_made_by_supervisors(sign_in: Callable[..., Client]) -> None:
    operator, supervisor, viewer = sign_in("operator"), sign_in("supervisor"), sign_in("viewer")

    assert save(operator, "status=failed", shared="yes").status_code == 403
    save(supervisor, "status=failed", shared="yes")

    (link,) = viewer.get(TRANSACTIONS).context["views"].links
    assert (link.name, link.owner, link.may_delete) == ("bank", "supervisor", False)
    assert viewer.get(f"{TRANSACTIONS}views/{link.pk}/")["Location"] == f"{TRANSACTIONS}?status=failed"
    viewer.post(f"{TRANSACTIONS}views/", {"delete": "yes", "view": str(link.pk)})
    assert names(viewer) == ["bank"]
    assert 'name="shared"' in supervisor.get(f"{TRANSACTIONS}?status=failed").content.decode()
    assert 'name="shared"' not in operator.get(f"{TRANSACTIONS}?status=failed").content.decode()


def test_a_shared_one_is_taken_away_by_another_supervisor(sign_in: Callable[..., Client], root: Client) -> None:
    save(sign_in("supervisor"), "status=failed", shared="yes")
    User.objects.filter(username="supervisor").update(is_active=False)

    root.post(f"{TRANSACTIONS}views/", {"delete": "yes", "view": str(SavedView.objects.get().pk)})

    assert not SavedView.objects.exists()


def test_a_person_has_so_many_and_no_more(root: Client) -> None:
    owner = User.objects.get(username="root")
    SavedView.objects.bulk_create(
        SavedView(owner=owner, page="exceptions", name=str(number), query="status=all") for number in range(MOST_OWN)
    )

    assert "You have 50 views" in said(root, save(root, "status=failed"))
    assert SavedView.objects.count() == MOST_OWN


@pytest.mark.django_db(transaction=True)
def test_two_at_once_find_no_room_for_one_more_than_there_may_be(root: Client) -> None:
    owner = User.objects.get(username="root")
    SavedView.objects.bulk_create(
        SavedView(owner=owner, page="exceptions", name=str(number), query="status=all")
        for number in range(MOST_OWN - 1)
    )
    clients = [Client() for _ in range(4)]
    for client in clients:
        client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    start = threading.Barrier(len(clients))

    def act(number: int, client: Client) -> None:
        start.wait()
        save(client, "status=failed", name=f"new {number}")
        connection.close()

    threads = [threading.Thread(target=act, args=pair) for pair in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert SavedView.objects.count() == MOST_OWN


def test_a_filter_that_is_gone_is_left_out_of_the_way_to_the_list(root: Client) -> None:
    owner = User.objects.get(username="root")
    view = SavedView.objects.create(owner=owner, page="transactions", name="old", query="gone=1&status=failed")

    assert root.get(f"{TRANSACTIONS}views/{view.pk}/")["Location"] == f"{TRANSACTIONS}?status=failed"
    assert root.get(f"{INBOX}views/{view.pk}/").status_code == 404


def test_who_may_not_see_the_list_has_no_views_of_it(sign_in: Callable[..., Client]) -> None:
    nobody = sign_in()

    assert save(nobody, "status=failed").status_code == 403
    assert nobody.get(f"{TRANSACTIONS}views/1/").status_code == 403


@pytest.mark.parametrize("pk", ["0", "9" * 30, "x", "-1", "²"])
def test_a_view_that_is_not_there(pk: str, root: Client) -> None:
    assert root.get(f"{TRANSACTIONS}views/").status_code == 404
    assert root.get(f"{TRANSACTIONS}views/{pk}/").status_code in (302, 404)
    assert "You have no such view." in said(root, root.post(f"{TRANSACTIONS}views/", {"delete": "yes", "view": pk}))


def test_views_go_with_their_owner(root: Client) -> None:
    save(root, "status=failed")

    User.objects.filter(username="root").get().delete()

    assert not SavedView.objects.exists()


def test_a_form_from_elsewhere_saves_nothing(root: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = root.cookies

    assert save(strict, "status=failed").status_code == 403
    assert not SavedView.objects.exists()


def test_lists_without_views_have_none(root: Client) -> None:
    assert "views" not in root.get(reverse("admin:dist_task_executionlog_changelist")).context
