"""`script/bench`: measures this tree and prints one table."""

from __future__ import annotations

import argparse
import sys
import time

import uvloop

from bench.client import CallFailed
from bench.disk import durable_write_ms
from bench.flows import definitions
from bench.measure import Bench, batch_throughput, create_flows, latency, lateness, throughput
from bench.memory import memory
from bench.report import Round, medians, table, write
from bench.stand import Stand, StandFailed, stand

SETTLE_SECONDS = 5.0
WARM_UP = 50


def main() -> int:
    arguments = read_arguments()
    try:
        with stand() as place:
            once = measure_once(place, settle_seconds=0.5 if arguments.quick else SETTLE_SECONDS)
            rounds = [{**once, **found} for found in measure_rounds(place, arguments=arguments)]
    except (CallFailed, StandFailed) as error:
        sys.stderr.write(f"script/bench: {error}\n")
        return 1
    results = medians(rounds)
    sys.stdout.write(table(results))
    sys.stdout.write(f"written to {write(results, rounds=rounds, arguments=vars(arguments))}\n")
    return 0


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument("--flows", type=int, default=3000, help="transactions per throughput run (default 3000)")
    parser.add_argument("--idle", type=int, default=100, help="transactions one after the other (default 100)")
    parser.add_argument("--runs", type=int, default=3, help="rounds; the table shows medians (default 3)")
    parser.add_argument("--quick", action="store_true", help="a smoke run: one round with few transactions")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.flows, arguments.idle, arguments.runs = 50, 5, 1
    return arguments


def measure_once(place: Stand, *, settle_seconds: float) -> Round:
    time.sleep(settle_seconds)
    return {
        "start": {"second_seconds": place.start_seconds},
        "disk": {"write_p50_ms": durable_write_ms(place.data)},
        "memory": memory(root=place.server_pid, data=place.data),
    }


def measure_rounds(place: Stand, *, arguments: argparse.Namespace) -> list[Round]:
    flow_ids = uvloop.run(create_flows(place, flows=definitions(step_port=place.step_port)))
    uvloop.run(throughput(Bench(place, flow_ids, "warm"), flow="W3", count=WARM_UP))
    rounds = []
    for number in range(arguments.runs):
        sys.stderr.write(f"round {number + 1} of {arguments.runs}\n")
        rounds.append(uvloop.run(measure_round(Bench(place, flow_ids, f"r{number}"), arguments=arguments)))
    return rounds


async def measure_round(bench: Bench, *, arguments: argparse.Namespace) -> Round:
    idle = await latency(bench, flow="W3", count=arguments.idle)
    late = await lateness(bench)
    await bench.forget_calls()
    found = {
        "W3": await throughput(bench, flow="W3", count=arguments.flows),
        "W3batch": await batch_throughput(bench, flow="W3", count=arguments.flows),
        "W0": await throughput(bench, flow="W0", count=arguments.flows),
        "P5": await throughput(bench, flow="P5", count=arguments.flows),
    }
    return {"idle": idle, "late": late, "calls": await bench.calls(), **found}


if __name__ == "__main__":
    sys.exit(main())
