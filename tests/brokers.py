"""Real brokers for tests: each on loopback, on free ports, in a folder of its own, and gone with the session."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.worker import wait_for

RABBITMQ = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin:" + os.environ.get("PATH", ""))
REDIS = shutil.which("redis-server")
EPMD = shutil.which("epmd")
OPENSSL = shutil.which("openssl")
USER, PASSWORD = "dist_task", "pa:ss/wo%rd"
QUOTED_PASSWORD = "pa%3Ass%2Fwo%25rd"
START_SECONDS = 90.0
SMALL_MESSAGE_BYTES = 200_000
"""What RabbitMQ is told to take at most."""


@dataclass(frozen=True, slots=True)
class Server:
    """`tls_port` wants TLS; its certificate is for the name `localhost` only, and is in `ca_file`."""

    port: int
    tls_port: int
    ca_file: str


@pytest.fixture(scope="session")
def rabbitmq(rabbitmq_server: Server) -> int:
    """The port of a running RabbitMQ."""
    return rabbitmq_server.port


@pytest.fixture(scope="session")
def redis(redis_server: Server) -> int:
    """The port of a running Redis that wants a password."""
    return redis_server.port


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[Server]:
    if RABBITMQ is None or EPMD is None:
        pytest.skip("no RabbitMQ here: install rabbitmq-server")
    port, tls_port, epmd_port, dist_port = (free_port() for _each in range(4))
    with folder("rabbitmq") as home:
        certify(home)
        (home / "rabbitmq.conf").write_text(configuration(port, tls_port=tls_port, home=home))
        (home / "enabled_plugins").write_text("[].")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd_port),
            "RABBITMQ_NODENAME": f"test{port}@localhost",
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        # In the foreground: the one that Erlang starts by itself would stay.
        names = [EPMD, "-address", "127.0.0.1", "-port", str(epmd_port)]
        with running(names, environment, home=home), running([RABBITMQ], environment, home=home) as server:
            wait_for(lambda: answers(port, server=server), seconds=START_SECONDS)
            yield Server(port, tls_port, str(home / "certificate.pem"))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    if REDIS is None:
        pytest.skip("no Redis here: install redis-server")
    port, tls_port = free_port(), free_port()
    with folder("redis") as home:
        certify(home)
        command = [REDIS, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home), "--save", ""]
        command += ["--requirepass", PASSWORD, "--tls-port", str(tls_port), "--tls-auth-clients", "no"]
        for option, file in (("cert", "certificate.pem"), ("key", "key.pem"), ("ca-cert", "certificate.pem")):
            command += [f"--tls-{option}-file", str(home / file)]
        with running(command, dict(os.environ), home=home) as server:
            wait_for(lambda: answers(port, server=server), seconds=START_SECONDS)
            yield Server(port, tls_port, str(home / "certificate.pem"))


def certify(home: Path) -> None:
    """A certificate that signs itself, and its key."""
    if OPENSSL is None:
        pytest.skip("no openssl here: install it")
    command = [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(home / "key.pem"), "-out", str(home / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True)


def configuration(port: int, *, tls_port: int, home: Path) -> str:
    return f"""
listeners.tcp.default = 127.0.0.1:{port}
listeners.ssl.default = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {home}/certificate.pem
ssl_options.certfile = {home}/certificate.pem
ssl_options.keyfile = {home}/key.pem
default_user = {USER}
default_pass = {PASSWORD}
loopback_users = none
max_message_size = {SMALL_MESSAGE_BYTES}
disk_free_limit.absolute = 1MB
"""


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def answers(port: int, *, server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None, f"{server.args} has ended with {server.returncode}"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextmanager
def folder(name: str) -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def running(command: list[str], environment: dict[str, str], *, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process group of its own, which is ended as a whole."""
    with (home / f"{Path(command[0]).name}.log").open("wb") as log:
        server = subprocess.Popen(
            command, env=environment, cwd=home, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)
