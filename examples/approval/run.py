"""Starts the service, accounting and two people; takes the expenses one after the other, and compares at the end."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from dist_task.client import ApiError, Client, Transaction
from examples.api import decide, get, register
from examples.server import running_server, temporary_folder

from . import __doc__ as about
from .accounting import Accounting, open_accounting
from .expenses import EXPENSES, Expense, complaints
from .flow import ROLE, definition
from .people import Person, hire

LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Office:
    url: str
    client: Client
    accounting: Accounting
    supervisor: Person
    operator: Person


def main(arguments: list[str]) -> int:
    expenses = chosen(arguments)
    print("starting the service")
    with temporary_folder() as folder, running_server(folder) as server, open_accounting() as accounting:
        with Client(server.url) as client:
            people = [hire(name, role=role, server=server) for name, role in (("sue", ROLE), ("otto", "operator"))]
            office = Office(server.url, client, accounting, *people)
            wrong = [each for expense in expenses for each in take(expense, office=office)]
        wrong += complaints(expenses, paid=accounting.paid, approver=office.supervisor.name)
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    if not wrong:
        print("\neverything that was paid was small, or approved by a supervisor")
    return 1 if wrong else 0


def chosen(arguments: list[str]) -> Sequence[Expense]:
    names = [expense.name for expense in EXPENSES]
    parser = argparse.ArgumentParser("script/example approval", description=about)
    parser.add_argument("expenses", nargs="*", metavar="EXPENSE", help=f"some of {', '.join(names)} (default: all)")
    asked = parser.parse_args(arguments).expenses or names
    if unknown := set(asked) - set(names):
        parser.error(f"there is no expense {', '.join(sorted(unknown))}")
    return [expense for expense in EXPENSES if expense.name in asked]


def take(expense: Expense, *, office: Office) -> list[str]:
    """What did not go as it should."""
    print(f"\n{expense.instance_id}: {expense.story}")
    flow = definition(accounting=office.accounting.url, within_seconds=expense.within_seconds)
    flow_id = register(office.url, name="expense", definition=flow)
    office.client.start(expense.instance_id, flow_id=flow_id, params=expense.params)
    wrong, is_asked = [], False
    for txn in office.client.follow(expense.instance_id, every_seconds=LOOK_SECONDS):
        if not is_asked and status_of(txn, "approve") == "waiting":
            is_asked = True
            wrong += ask(expense, office=office)
    if is_asked != expense.needs_approval:
        wrong.append(f"{expense.instance_id}: {'somebody' if is_asked else 'nobody'} was asked")
    return wrong + report(expense, txn=txn, office=office)


def ask(expense: Expense, *, office: Office) -> list[str]:
    """Shows what waits, and decides it where somebody does."""
    log = get(f"{office.url}/api/v1/transactions/{expense.instance_id}/logs")["list"]
    shown = next(entry["response"] for entry in log if entry["event"] == "waiting")
    print(f"    waits for a {shown['role']}: {shown['message']}")
    wrong = try_in_vain(expense, office=office) if expense.tries else []
    if expense.decision:
        print(f"    {office.supervisor.name} decides: {expense.decision}, {expense.remark}")
        decision(expense, person=office.supervisor, verb=expense.decision, office=office)
    return wrong


def try_in_vain(expense: Expense, *, office: Office) -> list[str]:
    try:
        decision(expense, person=office.operator, verb="approve", office=office)
    except ApiError as error:
        print(f"    {office.operator.name} tries to approve: {error}")
        return []
    return [f"{expense.instance_id}: {office.operator.name} is no {ROLE}, and approved it"]


def decision(expense: Expense, *, person: Person, verb: str, office: Office) -> None:
    decide(
        office.url,
        instance_id=expense.instance_id,
        task_id="approve",
        verb=verb,
        remark=expense.remark,
        token=person.token,
    )


def report(expense: Expense, *, txn: Transaction, office: Office) -> list[str]:
    """How it ended. What was left for a person is closed: it was the person's own decision, or it is asked for anew."""
    print(f"  {txn.status}: {', '.join(f'{task.task_id} {task.status}' for task in txn.tasks)}")
    code = ""
    for record in office.client.exceptions(instance_id=expense.instance_id):
        code = record.error_code
        print(f"  exception of {record.task}: {record.error_code}, {record.error_message}")
        office.client.handle(record.id, remark="the employee was told")
    found = (txn.status, code)
    return [] if found == expense.end else [f"{expense.instance_id} ended as {found} and not as {expense.end}"]


def status_of(txn: Transaction, task_id: str) -> str:
    return next(task.status for task in txn.tasks if task.task_id == task_id)
