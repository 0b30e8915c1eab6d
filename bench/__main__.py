"""Measures this tree, and its peers where asked, and prints one table; all figures go to a JSON file too."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import sleep
from types import FrameType

import uvloop

from bench.against import against
from bench.arguments import Arguments, read_arguments
from bench.children import StandFailed
from bench.client import CallFailed
from bench.database import database
from bench.history import fill
from bench.latency import latency, lateness
from bench.peers.compare import compare, installed
from bench.processes import PROC
from bench.quiet import quiet
from bench.recovery import KILLS, recovery
from bench.report import spread, table, write
from bench.stand import Stand, bench_folder, stand, step_server
from bench.throughput import Bench, Found, batch_throughput, throughput

SETTLE_SECONDS = 5.0
QUIET_SECONDS = 20.0
WARM_UP = 100
WIDE = ("F100", "C100")


def main() -> int:
    arguments = read_arguments(sys.argv[1:], description=__doc__ or "")
    signal.signal(signal.SIGTERM, interrupt)
    try:
        if not PROC.is_dir():
            raise StandFailed("this needs Linux: CPU and memory are read from /proc")
        rounds = list(measure(arguments))
    except (CallFailed, StandFailed) as error:
        sys.stderr.write(f"script/bench: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("script/bench: interrupted; all that it started has been ended\n")
        return 130
    results = spread(rounds)
    sys.stdout.write(table(results))
    sys.stdout.write(f"written to {write(results, rounds=rounds, arguments=arguments)}\n")
    return 0


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def measure(arguments: Arguments) -> Iterator[Found]:
    """One set of figures per round; what is measured once is in the first one."""
    installed(arguments.peers)  # before anything is measured
    with ExitStack() as stack:
        folder = stack.enter_context(bench_folder())
        step_port = stack.enter_context(step_server(folder))
        place = stack.enter_context(stand(folder / "empty", step_port=step_port))
        once = measure_once(place, arguments=arguments)
        warm_up(place)
        full = fill_second(stack, folder, step_port=step_port, arguments=arguments)
        other = start_other(stack, folder, step_port=step_port, arguments=arguments)
        for number in range(arguments.runs):
            sys.stderr.write(f"round {number + 1} of {arguments.runs}\n")
            found = uvloop.run(measure_round(Bench(place, f"r{number}"), arguments=arguments))
            if full:
                found |= uvloop.run(measure_history(place, full[0], number=number, arguments=arguments)) | full[1]
            if other:
                say("against")
                found |= uvloop.run(against(place, other, number=number, flows=arguments.flows))
            if "peers" in arguments.parts:
                found |= compare(place, number=number, folder=folder, arguments=arguments)
            yield {**once, **found}
            once = {}


def measure_once(place: Stand, *, arguments: Arguments) -> Found:
    found: Found = {}
    if "quiet" in arguments.parts:
        say("quiet")
        settle(arguments)
        found |= quiet(place, seconds=1.0 if arguments.quick else QUIET_SECONDS)
    if "database" in arguments.parts and not arguments.quick:
        say("database")
        counts = {"W3": 1000, "W0": 1000, "P5": 500, "F100": arguments.wide, "C100": arguments.wide}
        found |= uvloop.run(database(Bench(place, "once"), counts=counts))
    return found


def warm_up(place: Stand) -> None:
    uvloop.run(throughput(Bench(place, "warm"), flow="W3", count=WARM_UP))


def settle(arguments: Arguments) -> None:
    sleep(0.5 if arguments.quick else SETTLE_SECONDS)


async def measure_round(bench: Bench, *, arguments: Arguments) -> Found:
    found: Found = {}
    if "latency" in arguments.parts:
        say("latency")
        found |= await latency(bench, flow="W3", count=arguments.idle)
    if "lateness" in arguments.parts:
        say("lateness")
        found |= await lateness(bench)
    if "throughput" in arguments.parts:
        say("throughput")
        found |= await measure_throughput(bench, arguments=arguments)
    if "recovery" in arguments.parts:
        say("recovery")
        found |= await recovery(bench, kills=1 if arguments.quick else KILLS)
    return found


async def measure_throughput(bench: Bench, *, arguments: Arguments) -> Found:
    found = await throughput(bench, flow="W3", count=arguments.flows)
    found |= await batch_throughput(bench, flow="W3", count=arguments.flows)
    for flow, count in (("W0", arguments.flows), ("P5", arguments.flows), *((wide, arguments.wide) for wide in WIDE)):
        found |= await throughput(bench, flow=flow, count=count)
    return found


def fill_second(stack: ExitStack, folder: Path, *, step_port: int, arguments: Arguments) -> tuple[Stand, Found] | None:
    """A second service, whose tables are big."""
    if "history" not in arguments.parts:
        return None
    full = stack.enter_context(stand(folder / "full", step_port=step_port))
    warm_up(full)
    return full, fill(full, count=arguments.history)


def start_other(stack: ExitStack, folder: Path, *, step_port: int, arguments: Arguments) -> Stand | None:
    if "against" not in arguments.parts:
        return None
    other = stack.enter_context(stand(folder / "other", step_port=step_port, checkout=Path(arguments.against)))
    warm_up(other)
    return other


async def measure_history(empty: Stand, full: Stand, *, number: int, arguments: Arguments) -> Found:
    """The same workload on both services in turn, each one first in every second round: the ratio is of one round.

    A third as many go before on each: after a checkpoint the first change of a page is written twice.
    """
    say("history")
    found: Found = {}
    turns = [("empty", empty), ("full", full)]
    for name, place in reversed(turns) if number % 2 else turns:
        await throughput(Bench(place, f"r{number}-{name}-warm"), flow="W3", count=max(1, arguments.flows // 3))
        measured = await throughput(Bench(place, f"r{number}-{name}"), flow="W3", count=arguments.flows)
        found |= {key.replace("W3", f"W3{name}", 1): values for key, values in measured.items()}
    ratio = found["W3full"]["flows_per_second"] / found["W3empty"]["flows_per_second"]
    return {**found, "bigtables": {"full_over_empty": ratio}}


def say(part: str) -> None:
    sys.stderr.write(f"  {part}\n")


if __name__ == "__main__":
    sys.exit(main())
