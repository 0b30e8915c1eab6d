"""python -m dist_task.supervisor [--host HOST] [--port PORT] [--data DIR] [--demo]: see script/server."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import sys
from pathlib import Path

from dist_task.embedded.alarm import Alarm
from dist_task.embedded.client import keeper_environment
from dist_task.embedded.layout import Layout
from dist_task.profiles import refusal as refusal_of_profile
from dist_task.supervisor.child import Child
from dist_task.supervisor.house import House
from dist_task.supervisor.preparation import Preparation
from dist_task.supervisor.probe import Probe

SOURCE = Path(__file__).resolve().parent.parent.parent
LOOPBACK = ("127.0.0.1", "::1", "localhost")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where to ask a server that listens everywhere


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/server", description="Run the whole service on this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, help="the port to listen on (default 8080)")
    parser.add_argument("--data", metavar="DIR", help="where the data are kept (default var/)")
    parser.add_argument("--demo", action="store_true", help="also run a demo shop with orders")
    return parser.parse_args(arguments)


def production() -> bool:
    return os.environ.get("DIST_TASK_PROFILE") == "production"


def refusal(*, host: str, port: int) -> str:
    """Why we do not start; empty when nothing speaks against it."""
    if sentence := refusal_of_profile(os.environ):
        return sentence
    if host not in LOOPBACK and not production():
        return (
            f"the development profile answers without a token and so listens on loopback only, "
            f"not on {host}: set DIST_TASK_PROFILE=production "
            "(with SECRET_KEY and ALLOWED_HOSTS), or leave --host away."
        )
    if not 1 <= port <= 65535:
        return f"{port} is no port: choose one from 1 to 65535 with --port."
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(1)
    except OSError as error:
        return explain(error, host=host, port=port)
    return ""


def explain(error: OSError, *, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken: stop what listens there, or choose another with --port."
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {port}: choose one above 1023 with --port."
    return f"{host} cannot be listened on ({error.strerror or error}): choose another address with --host."


def build_house(options: argparse.Namespace, *, alarm: Alarm) -> House:
    data = Path(options.data or os.environ.get("DIST_TASK_DATA") or SOURCE / "var").resolve()
    host, port = options.host, options.port
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    embedded = not os.environ.get("DATABASE_URL")
    return House(
        keeper=keeper(data) if embedded else None,
        prepare=managed("prepare"),
        web=managed("web", "--host", host, "--port", str(port), "--grace", "1"),
        cluster=managed("cluster"),
        demo=managed("demo") if options.demo else None,
        probe=Probe(host=EVERYWHERE.get(host, host), port=port, host_header=host_header(shown)),
        url=f"http://{shown}",
        environment=environment(data=data, host=host, embedded=embedded),
        cwd=str(SOURCE),
        alarm=alarm,
        preparation=Preparation(source=SOURCE, layout=Layout(folder=data), embedded=embedded),
    )


def keeper(data: Path) -> Child:
    command = [sys.executable, "-m", "dist_task.embedded.keeper", str(data), "--stay"]
    # Killed with us, it would take the server down the hard way; told, it shuts it down.
    return Child(name="keeper", command=command, death_signal=signal.SIGTERM)


def managed(*arguments: str) -> Child:
    return Child(name=arguments[0], command=[sys.executable, str(SOURCE / "manage.py"), *arguments])


def host_header(shown: str) -> str:
    """In production a name that Django accepts."""
    names = [name.strip().lstrip(".") for name in os.environ.get("ALLOWED_HOSTS", "").split(",")]
    return next((name for name in names if name and "*" not in name), shown)


def environment(*, data: Path, host: str, embedded: bool) -> dict[str, str]:
    ours = {"DIST_TASK_DATA": str(data), "DIST_TASK_BIND": host, "PYTHONUNBUFFERED": "1"}
    return {**keeper_environment(), **ours, **({"DIST_TASK_KEEPER": "supervised"} if embedded else {})}


def main(arguments: list[str]) -> int:
    options = parse_arguments(arguments)
    if sentence := refusal(host=options.host, port=options.port):
        sys.stderr.write(f"error: {sentence}\n")
        return 1
    house = build_house(options, alarm=Alarm())
    if not production():
        sys.stdout.write(f"development profile: the API on {house.url} answers without a token\n")
        sys.stdout.flush()
    return house.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
