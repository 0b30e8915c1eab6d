"""The same workloads on this tree's service and on that of another checkout, in turn: ratios of one run.

A machine that is shared has phases of minutes in which everything takes a third longer, and figures of two runs tell of
these. So the turns are short, who comes first changes with each, and the figure is the median of many ratios.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from bench.stand import Stand
from bench.throughput import Bench, Found, batch_throughput, throughput

WORKLOADS = (("W3", "W3", throughput), ("W3batch", "W3", batch_throughput), ("P5", "P5", throughput))
TURNS = 15
FEWEST = 50


async def against(ours: Stand, other: Stand, *, number: int, flows: int) -> Found:
    """Medians of ratios, this tree's figure over the other's. `flows` are those of all turns of a workload."""
    ratios: defaultdict[str, list[float]] = defaultdict(list)
    turns = min(TURNS, max(1, flows // FEWEST))
    count = flows // turns
    for turn in range(turns):
        for name, flow, run in WORKLOADS:
            places = {"ours": ours, "other": other}
            found = {}
            for who in sorted(places, reverse=bool(turn % 2)):
                bench = Bench(places[who], f"r{number}-{turn}-{who}")
                found[who] = (await run(bench, flow=flow, count=count))[name]
            for figure in ("flows_per_second", "cpu_ms_per_flow"):
                ratios[f"{name}_{figure}"].append(found["ours"][figure] / found["other"][figure])
    return {"against": {name: median(values) for name, values in ratios.items()}}
