"""Where a call may go, and that it goes there and nowhere else."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from dist_task.executors import pool
from dist_task.executors.address import ForbiddenAddress, refuse_address, target_of
from dist_task.executors.http import HttpExecutor

from .conftest import OK, Run, call, failure, verdict
from .raw_service import RawService, Talk, keeps_saying, serving

FORBIDDEN_ADDRESS = ("FORBIDDEN_ADDRESS", False, True)
FORBIDDEN_HOST = ("FORBIDDEN_HOST", False, True)
INVALID_URL = ("INVALID_URL", False, True)
INVALID_HEADER = ("INVALID_HEADER", False, True)
REFUSED = ("CONNECTION_REFUSED", False, False)
TLS_ERROR = ("TLS_ERROR", False, False)


@pytest.mark.parametrize(
    ("url", "host", "port", "host_header", "path"),
    [
        ("http://payment/deduct", "payment", 80, "payment", "/deduct"),
        ("http://Payment:8080", "payment", 8080, "payment:8080", "/"),
        ("https://a.example", "a.example", 443, "a.example", "/"),
        ("https://a.example:443/", "a.example", 443, "a.example", "/"),
        ("http://a.example:443/", "a.example", 443, "a.example:443", "/"),
        ("http://[::1]:8080/a", "::1", 8080, "[::1]:8080", "/a"),
        ("http://[2001:DB8::0:1]/", "2001:db8::1", 80, "[2001:db8::1]", "/"),
        ("http://bücher.example/", "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/"),
        ("http://支付/扣款?订单=1", "xn--bnq875c", 80, "xn--bnq875c", "/%E6%89%A3%E6%AC%BE?%E8%AE%A2%E5%8D%95=1"),
        ("http://my_service/a", "my_service", 80, "my_service", "/a"),
        ("http://h/a%20b%zz?q=%41+1%", "h", 80, "h", "/a%20b%25zz?q=%41+1%25"),
        ("http://h/a/./b/../c/..?x=../y", "h", 80, "h", "/a/?x=../y"),
        ("http://h/../../a//b/", "h", 80, "h", "/a//b/"),
        ("http://h?a=1#part", "h", 80, "h", "/?a=1"),
        ('http://h/"<a>"?"<b>"', "h", 80, "h", "/%22%3Ca%3E%22?%22%3Cb%3E%22"),
    ],
)
def test_a_url_is_read_and_quoted(url: str, host: str, port: int, host_header: str, path: str) -> None:
    target = target_of(url)

    assert (target.host, target.port, target.host_header, target.path) == (host, port, host_header, path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "payment/deduct",
        "ftp://h/",
        "http:///a",
        "http://user@h/",
        "http://h:99999/",
        "http://h:x/",
        "http://[::1",
        "http://a..b/",
        f"http://{'a' * 64}.example/",
        "http://h/a b",
        "http://h/\r\nX: y",
        "http://h\\@other/",
        "http://stra\u00dfe.example/",
        "http://h/\ud800",
    ],
)
def test_a_url_that_cannot_be_called_is_refused_for_good(run: Run, url: str) -> None:
    assert verdict(run(failure(url))) == INVALID_URL


@pytest.mark.parametrize(
    ("url", "is_right"),
    [
        ("http://payment/a", True),
        ("http://a..b/", False),
        ("http://stra\u00dfe.example/", False),
        ("http://[::x]/", False),
    ],
)
def test_a_flow_that_names_such_a_url_is_refused_when_it_is_posted(url: str, is_right: bool) -> None:
    assert (HttpExecutor().check_config({"url": url}) == []) == is_right


def test_a_secret_in_a_bad_url_is_not_told(run: Run) -> None:
    assert "hunter2" not in str(run(failure("http://h:x/?token=hunter2")))


@pytest.mark.parametrize(
    ("address", "is_allowed", "is_allowed_if_private"),
    [
        ("93.184.216.34", True, True),
        ("2606:4700::1111", True, True),
        ("10.0.0.1", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("::ffff:127.0.0.1", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),
        ("224.0.0.1", False, False),
        ("255.255.255.255", False, False),
    ],
)
def test_addresses_are_refused(
    settings: LazySettings, address: str, is_allowed: bool, is_allowed_if_private: bool
) -> None:
    def verdict_of(private: bool) -> bool:
        settings.DIST_TASK = {**settings.DIST_TASK, "ALLOW_PRIVATE_TARGETS": private}
        try:
            refuse_address(address)
        except ForbiddenAddress:
            return False
        return True

    assert (verdict_of(False), verdict_of(True)) == (is_allowed, is_allowed_if_private)


def test_the_addresses_of_a_name_are_checked_and_tried_in_turn(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = names(monkeypatch, {"payment": ["169.254.169.254", "127.0.0.99", "127.0.0.1"]})

    async def scenario() -> RawService:
        async with serving(keeps_saying(OK)) as service:
            service.netloc = service.netloc.replace("127.0.0.1", "payment")
            for _time in range(3):
                await call(service.url())
            return service

    service = run(scenario())

    assert (service.connections, questions) == (1, ["payment"])
    assert f"Host: {service.netloc}".encode() in service.requests[0]


@pytest.mark.parametrize(
    ("addresses", "private", "expected"),
    [
        (["169.254.169.254"], True, FORBIDDEN_ADDRESS),
        (["127.0.0.1", "10.0.0.1"], False, FORBIDDEN_ADDRESS),
        (["::ffff:169.254.169.254"], True, FORBIDDEN_ADDRESS),
        (["fe80::1%lo"], True, FORBIDDEN_ADDRESS),
        ([], True, FORBIDDEN_ADDRESS),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), True, REFUSED),
        (["127.0.0.98", "127.0.0.99"], True, REFUSED),
    ],
)
def test_a_name_that_leads_nowhere_or_where_it_may_not_is_not_an_execution(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    settings: LazySettings,
    addresses: Any,
    private: bool,
    expected: tuple[str, bool, bool],
) -> None:
    names(monkeypatch, {"payment": addresses})
    settings.DIST_TASK = {**settings.DIST_TASK, "ALLOW_PRIVATE_TARGETS": private}

    assert verdict(run(failure("http://payment:9/"))) == expected


def test_calls_of_a_host_share_a_question_and_ask_again_after_it_could_not_be_reached(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[str, Any] = {"payment": ["127.0.0.99"]}
    questions = names(monkeypatch, known)

    async def scenario() -> Any:
        async with serving(keeps_saying(OK)) as service:
            url = service.url().replace("127.0.0.1", "payment")
            refused = verdict(await failure(url))
            known["payment"] = ["127.0.0.1"]
            await asyncio.gather(*(call(url) for _one in range(10)))
            return refused, len(service.requests)

    assert run(scenario()) == (REFUSED, 10)
    assert questions == ["payment"] * 2


def names(monkeypatch: pytest.MonkeyPatch, known: dict[str, Any]) -> list[str]:
    """A name server for a test; returns the questions that it was asked."""
    questions: list[str] = []

    async def look_up(host: str, port: int) -> list[str]:
        questions.append(host)
        await asyncio.sleep(0)
        if isinstance(known[host], Exception):
            raise known[host]
        return list(known[host])

    monkeypatch.setattr(pool, "_look_up", look_up)
    return questions


def test_a_name_is_really_resolved(run: Run) -> None:
    async def scenario() -> Any:
        async with serving(keeps_saying(OK)) as service:
            return (await call(service.url().replace("127.0.0.1", "localhost"))).output["status"]

    assert run(scenario()) == 200


def test_a_literal_of_the_newer_protocol_is_called(run: Run) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")

    async def scenario() -> RawService:
        async with serving(keeps_saying(OK), host="::1") as service:
            await call(service.url())
            return service

    service = run(scenario())

    assert f"\r\nHost: {service.netloc}\r\n".encode() in service.requests[0]


def test_allowed_hosts_follow_the_settings_and_are_asked_at_every_call(run: Run, settings: LazySettings) -> None:
    async def scenario() -> Any:
        async with serving(keeps_saying(OK)) as service:
            settings.DIST_TASK = {**settings.DIST_TASK, "ALLOWED_HOSTS_OUT": (service.netloc,)}
            allowed = await call(service.url())
            settings.DIST_TASK = {**settings.DIST_TASK, "ALLOWED_HOSTS_OUT": ("payment", "127.0.0.1:1")}
            return allowed.output["status"], verdict(await failure(service.url())), len(service.requests)

    assert run(scenario()) == (200, FORBIDDEN_HOST, 1)


def test_proxies_of_the_environment_are_not_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def scenario() -> Any:
        async with serving(keeps_saying(OK)) as service:
            return (await call(service.url())).output["status"]

    assert run(scenario()) == 200


@pytest.mark.parametrize("bad", ["a\r\nX-Planted: 1", "a\nb", "a\rb", "a\0b", "\ud800"])
def test_no_value_can_begin_another_header(run: Run, bad: str) -> None:
    async def scenario() -> Any:
        async with serving(keeps_saying(OK)) as service:
            errors = [await failure(service.url(), task_id=bad) if bad != "\ud800" else None]
            errors.append(await failure(service.url(), headers={"X-Given": bad}))
            return [verdict(error) for error in errors if error], service.connections

    verdicts, connections = run(scenario())

    assert (set(verdicts), connections) == ({INVALID_HEADER}, 0)


def test_a_service_is_told_of_the_attempt_in_one_well_formed_head(run: Run) -> None:
    async def scenario() -> bytes:
        async with serving(keeps_saying(OK)) as service:
            headers = {"X-Given": "扣", "accept": "text/plain", "accept-encoding": "gzip", "content-type": "text/x"}
            await call(service.url("/a?b=c"), instance_id="订单-1", headers=headers)
            return service.requests[0]

    head, body = run(scenario()).split(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    given = [line.split(": ", 1) for line in lines]
    found = {name.lower(): value for name, value in given}

    assert first == "POST /a?b=c HTTP/1.1"
    assert len(found) == len(given)
    assert (found["x-given"], found["accept"], found["accept-encoding"]) == ("扣", "text/plain", "identity")
    assert (found["content-type"], found["content-length"]) == ("text/x", str(len(body)))
    assert (found["x-dist-task-instance"], found["x-dist-task-attempt"]) == ("订单-1", "1")


def test_the_log_shows_what_was_sent_without_configured_secrets(run: Run) -> None:
    async def scenario() -> Any:
        async with serving(keeps_saying(OK)) as service:
            headers = {"Authorization": "Bearer hunter2", "X-Given": "a", "accept-encoding": "gzip"}
            result = await call(service.url("/a?token=hunter2"), headers=headers)
            return result.request, service.requests[0]

    request, sent = run(scenario())

    assert "hunter2" not in str(request)
    assert sent.count(b"hunter2") == 2
    assert (request["headers"]["Authorization"], request["headers"]["X-Given"]) == ("***", "a")
    assert {line.partition(":")[0] for line in sent.decode().split("\r\n")[1:-2]} == (
        set(request["headers"]) | {"Host", "Accept", "User-Agent", "Content-Length"}
    )


# -- TLS --


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file with a key and a certificate of its own making for `localhost`."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command += " -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
    try:
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl here")
    both = folder / "both.pem"
    both.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return both


@pytest.fixture
def tls(certificate: Path) -> Iterator[ssl.SSLContext]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    pool.tls_context.cache_clear()
    yield context
    pool.tls_context.cache_clear()


async def tls_call(tls: ssl.SSLContext, *, host: str) -> Any:
    async with serving(keeps_saying(OK), tls=tls) as service:
        url = service.url(scheme="https").replace("127.0.0.1", host)
        first = await call(url)
        second = await call(url)
        return first.output["body"], second.output["body"], service.connections


async def tls_failure(tls: ssl.SSLContext, *, host: str) -> tuple[Any, int]:
    async with serving(keeps_saying(OK), tls=tls) as service:
        error = await failure(service.url(scheme="https").replace("127.0.0.1", host))
        return error, len(service.requests)


def test_a_service_with_a_trusted_certificate_is_called_and_its_connection_kept(
    run: Run, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    assert run(tls_call(tls, host="localhost")) == ({"ok": True}, {"ok": True}, 1)


def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(
    run: Run, tls: ssl.SSLContext
) -> None:
    error, requests = run(tls_failure(tls, host="localhost"))

    assert (verdict(error), requests) == (TLS_ERROR, 0)
    assert "certificate" in str(error)


def test_a_certificate_of_another_name_is_refused(
    run: Run, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    error, requests = run(tls_failure(tls, host="127.0.0.1"))

    assert (verdict(error), requests) == (TLS_ERROR, 0)


def test_a_service_that_speaks_no_tls_is_not_called(run: Run) -> None:
    async def greet(talk: Talk) -> None:
        await talk.say(b"220 mail.example ESMTP\r\n")
        await talk.see_end()

    async def scenario() -> Any:
        async with serving(greet) as service:
            return await failure(service.url(scheme="https"))

    assert verdict(run(scenario())) == TLS_ERROR
