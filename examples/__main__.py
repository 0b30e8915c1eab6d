"""python -m examples [NAME [ARGUMENT...]]: see script/example."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from types import FrameType

from bench.children import StandFailed
from dist_task.client import ClientError

NAMES = ("order_saga", "money_transfer", "approval", "fan_out", "subflow")


def main(arguments: list[str]) -> int:
    if not arguments:
        print(listing())
        return 0
    name, *rest = arguments
    if name not in NAMES:
        sys.stderr.write(f"script/example: there is no example {name!r}. There are:\n{listing()}\n")
        return 2
    signal.signal(signal.SIGTERM, interrupt)
    try:
        status: int = import_module(f"examples.{name}.run").main(rest)
    except (StandFailed, ClientError) as error:
        sys.stderr.write(f"script/example: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("script/example: interrupted; all that it started has been ended\n")
        return 130
    return status


def listing() -> str:
    return "\n".join(f"  {name:16}{summary(name)}" for name in NAMES)


def summary(name: str) -> str:
    return (import_module(f"examples.{name}").__doc__ or "").splitlines()[0]


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
