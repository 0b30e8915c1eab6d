"""What `script/bench` was asked for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers import NAMES

MEASURED = ("throughput", "latency", "lateness", "recovery", "quiet", "database")
PARTS = (*MEASURED, "history", "peers", "against")


@dataclass(frozen=True, slots=True)
class Arguments:
    parts: tuple[str, ...]
    flows: int
    wide: int
    idle: int
    runs: int
    history: int
    peers: tuple[str, ...]
    quick: bool
    against: str  # another checkout; empty for none


def read_arguments(given: Sequence[str], *, description: str) -> Arguments:
    """What is wrong ends the program with a sentence and exit code 2."""
    parser = _parser(description)
    found = parser.parse_args(given)
    if found.only and found.history and "history" not in found.only:
        parser.error("--history is not among the parts of --only")
    if found.only and found.peers and "peers" not in found.only:
        parser.error("--peers is not among the parts of --only")
    if found.only and found.against and "against" not in found.only:
        parser.error("--against is not among the parts of --only")
    parts = found.only or (
        *MEASURED,
        *(["history"] if found.history else []),
        *(["peers"] if found.peers else []),
        *(["against"] if found.against else []),
    )
    if "history" in parts and not found.history:
        parser.error("the part history needs a number of transactions: --history 5000000")
    if "against" in parts and not found.against:
        parser.error("the part against needs another checkout: --against ../before")
    if found.quick:
        found.flows, found.wide, found.idle, found.runs = 50, 2, 5, 1
    peers = found.peers or (NAMES if "peers" in parts else ())
    return Arguments(
        parts=tuple(parts),
        flows=found.flows,
        wide=found.wide,
        idle=found.idle,
        runs=found.runs,
        history=found.history,
        peers=tuple(peers),
        quick=found.quick,
        against=found.against or "",
    )


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="script/bench", description=description, allow_abbrev=False)
    add = parser.add_argument
    add("--flows", type=_positive, default=3000, metavar="N", help="transactions per throughput run (3000)")
    add("--wide", type=_positive, default=30, metavar="N", help="transactions per run of F100 and C100 (30)")
    add("--idle", type=_positive, default=200, metavar="N", help="transactions one after the other (200)")
    add("--runs", type=_positive, default=3, metavar="N", help="rounds; the table shows medians (3)")
    add("--only", type=_parts, default=(), metavar="PART,...", help=f"of {', '.join(PARTS)}")
    add("--history", type=_positive, default=0, metavar="N", help="also beside a database of N finished transactions")
    add("--peers", type=_peers, nargs="?", const=NAMES, default=(), metavar="NAME,...", help=f"of {', '.join(NAMES)}")
    add(
        "--against",
        type=_checkout,
        default=None,
        metavar="PATH",
        help="beside the service of another checkout, in turn",
    )
    add("--quick", action="store_true", help="a smoke run: one round with few transactions")
    return parser


def _positive(text: str) -> int:
    number = int(text.replace("_", "").replace(",", "")) if text.replace("_", "").replace(",", "").isdecimal() else 0
    if not number:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def _checkout(text: str) -> str:
    folder = Path(text).resolve()
    if not (folder / "script" / "server").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no checkout of this project: it has no script/server")
    return str(folder)


def _parts(text: str) -> tuple[str, ...]:
    return _choices(text, known=PARTS)


def _peers(text: str) -> tuple[str, ...]:
    return _choices(text, known=NAMES)


def _choices(text: str, *, known: tuple[str, ...]) -> tuple[str, ...]:
    asked = [part.strip() for part in text.split(",")]
    for part in asked:
        if part not in known:
            raise argparse.ArgumentTypeError(f"{part!r} is not one of {', '.join(known)}")
    return tuple(name for name in known if name in asked)
