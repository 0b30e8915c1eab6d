"""Starts the service and the banks, makes transfers in batches, kills in between, and adds up."""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dist_task.client import ApiError, Client, ExceptionRecord, Transaction
from examples.api import register
from examples.kills import Kills
from examples.postgres import Postgres
from examples.server import running_server, temporary_folder

from . import __doc__ as about
from .banks import ACCOUNTS, FIRST_CENTS, NAMES, Banks
from .flow import definition
from .transfers import Transfer, complaints, transfers

BATCHES = 20
END_SECONDS = 120.0


@dataclass(slots=True)
class Run:
    made: Sequence[Transfer]
    ended: dict[str, Transaction] = field(default_factory=dict)
    exceptions: Sequence[ExceptionRecord] = ()
    seconds: float = 0.0


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    dice = random.Random(options.seed)
    print("starting the service and two banks")
    with temporary_folder() as folder:
        postgres = Postgres(folder / "var")
        banks = Banks(folder / "var", postgres=postgres)
        with running_server(folder, environment=banks.environment) as server:
            banks.found()
            kills = Kills(postgres, dice=dice, victims=("worker", "PostgreSQL"))
            run = Run(list(transfers(options.transfers, dice=dice)))
            with Client(server.url) as client:
                make(
                    run, client=client, flow_ids=register_flows(server.url), kills=kills, count=options.kills, dice=dice
                )
            return report(run, banks=banks, kills=kills)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("script/example money_transfer", description=about)
    parser.add_argument("transfers", nargs="?", type=int, default=2_000, metavar="N", help="how many (default 2000)")
    parser.add_argument("--kills", type=int, default=8, help="how often a process is killed (default 8, at most 20)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same transfers (default 1)")
    options = parser.parse_args(arguments)
    if options.transfers < 1 or not 0 <= options.kills <= BATCHES:
        parser.error(f"N must be above 0, and there are 0 to {BATCHES} kills")
    return options


def register_flows(url: str) -> dict[tuple[str, str], str]:
    """A flow for each direction: its id."""
    directions = (NAMES, NAMES[::-1])
    return {
        (source, target): register(url, name=f"{source}_to_{target}", definition=definition(source, target))
        for source, target in directions
    }


def make(
    run: Run, *, client: Client, flow_ids: dict[tuple[str, str], str], kills: Kills, count: int, dice: random.Random
) -> None:
    """Two batches are under way at a time. Kills happen while the newer one is."""
    began = time.monotonic()
    under_way: Sequence[Transfer] = ()
    batches = list(batches_of(run.made))
    struck = set(dice.sample(range(len(batches)), k=min(count, len(batches))))
    for number, batch in enumerate(batches):
        start(batch, client=client, flow_ids=flow_ids)
        if number in struck:
            print(f"  {len(run.ended):,} of {len(run.made):,} have ended: {kills.strike()} is killed")
        await_end(run, transfers=under_way, client=client)
        under_way = batch
    await_end(run, transfers=under_way, client=client)
    run.seconds = time.monotonic() - began
    run.exceptions = list(client.exceptions())


def batches_of(made: Sequence[Transfer]) -> Iterator[Sequence[Transfer]]:
    size = -(-len(made) // BATCHES)
    return (made[first : first + size] for first in range(0, len(made), size))


def start(batch: Sequence[Transfer], *, client: Client, flow_ids: dict[tuple[str, str], str]) -> None:
    """The client repeats it while PostgreSQL is away: a start happens once."""
    for outcome in client.start_many(transfer.start(flow_ids) for transfer in batch):
        if isinstance(outcome, ApiError):
            raise outcome


def await_end(run: Run, *, transfers: Sequence[Transfer], client: Client) -> None:
    for transfer in transfers:
        run.ended[transfer.instance_id] = client.wait(transfer.instance_id, seconds=END_SECONDS)


def report(run: Run, *, banks: Banks, kills: Kills) -> int:
    """The exit code."""
    accounts = banks.accounts()
    wrong = complaints(run.made, ended=run.ended, accounts=accounts, incoming=banks.incoming())
    ends = Counter("done" if txn.status == "success" else "undone" for txn in run.ended.values())
    repeated = sum(max(0, task.attempt - 1) for txn in run.ended.values() for task in txn.tasks)
    unknown = sum(record.outcome == "unknown" for record in run.exceptions)
    wrong += [f"left for a person: {record.error_message}" for record in run.exceptions if not record.handled]
    before, now = len(NAMES) * ACCOUNTS * FIRST_CENTS, sum(accounts.values())
    print(f"{len(run.made):,} transfers in {run.seconds:.1f} s: {len(run.made) / run.seconds:,.0f} a second")
    print(f"{ends['done']:,} happened, {ends['undone']:,} were undone for lack of money or a closed account")
    print(f"killed: {', '.join(f'{name} {count} times' for name, count in kills.done.items()) or 'nothing'}")
    print(f"attempts that were repeated: {repeated}; times that nobody knew whether one was done: {unknown}")
    print(f"both banks together: {before / 100:,.2f} before, {now / 100:,.2f} now")
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    if not wrong:
        print("every transfer happened once or not at all; every account is right to the cent")
    return 1 if wrong or before != now else 0
