"""Registered connections: a flow's author says a path, somebody else has said everything else."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dist_task.errors import ExecutionError
from dist_task.executors import outbound
from dist_task.executors.address import target_of
from dist_task.executors.base import Result, TaskCall
from dist_task.executors.connections import CONNECTIONS, Connection
from dist_task.executors.endpoint import endpoint_problems
from dist_task.executors.http import HttpExecutor
from dist_task.executors.literals import literal_secrets
from dist_task.executors.paths import allowed_path, path_pattern
from dist_task.executors.rpc import RpcExecutor
from dist_task.executors.secrets import SECRETS

from .conftest import OK, Run
from .raw_service import RawService, keeps_saying, serving

TOKEN = "tok-4711-of-the-payment-service"


@pytest.fixture(autouse=True)
def _known(settings: Any) -> Iterator[None]:
    """Nothing is allowed but what is registered, as in a fresh production."""
    settings.DIST_TASK = {**settings.DIST_TASK, "ALLOWED_HOSTS_OUT": (), "ALLOW_PRIVATE_TARGETS": False}
    SECRETS.put({"TOKEN": TOKEN})
    yield
    CONNECTIONS.put([])
    SECRETS.put({})


def register(service: RawService, *, kind: str = "http", is_active: bool = True, **config: Any) -> None:
    given = {"base_url": service.url("/v1"), "private": True, **config}
    CONNECTIONS.put([Connection("payment", kind=kind, config=given, is_active=is_active)])


async def attempt(path: str = "/pay", *, seconds: float = 20.0, **config: Any) -> Result:
    return await HttpExecutor().execute(
        TaskCall("order-1", "pay", "action", -1, 1, {"connection": "payment", "path": path, **config}, {}, seconds)
    )


async def refusal(path: str = "/pay", **config: Any) -> ExecutionError:
    with pytest.raises(ExecutionError) as caught:
        await attempt(path, **config)
    return caught.value


def sent_through(run: Run, *, connection: dict[str, Any], **task: Any) -> tuple[str, Result]:
    async def scenario() -> tuple[str, Result]:
        async with serving(keeps_saying(OK)) as service:
            register(service, **connection)
            result = await attempt(**task)
            return service.requests[0].decode(), result

    return run(scenario())


def test_a_task_says_a_path_and_the_connection_the_rest(run: Run) -> None:
    connection = {"headers": {"X-Shop": "7"}, "methods": ["PUT"], "paths": ["/pay"]}

    request, result = sent_through(run, connection=connection, path="/pay/订单", method="PUT", query={"a": 1})

    assert request.startswith("PUT /v1/pay/%E8%AE%A2%E5%8D%95?a=1 HTTP/1.1\r\n")
    assert "\r\nX-Shop: 7\r\n" in request
    assert "\r\nIdempotency-Key: " in request
    assert result.output["body"] == {"ok": True}


AUTHS = [
    ({"type": "bearer", "secret": "TOKEN"}, f"Authorization: Bearer {TOKEN}"),
    (
        {"type": "basic", "username": "shop", "secret": "TOKEN"},
        f"Authorization: Basic {b64encode(f'shop:{TOKEN}'.encode()).decode()}",
    ),
    ({"type": "header", "header": "X-Key", "secret": "TOKEN", "prefix": "k="}, f"X-Key: k={TOKEN}"),
]


@pytest.mark.parametrize(("auth", "line"), AUTHS, ids=lambda value: value["type"] if isinstance(value, dict) else "")
def test_credentials_are_sent_and_masked_in_the_log(run: Run, auth: dict[str, Any], line: str) -> None:
    request, result = sent_through(run, connection={"auth": auth, "headers": {"X-Sign": "${secrets.TOKEN}"}})

    name = line.partition(":")[0]
    assert f"\r\n{line}\r\n" in request
    assert f"\r\nX-Sign: {TOKEN}\r\n" in request
    assert result.request is not None
    assert result.request["headers"][name] == "***"
    assert TOKEN not in json.dumps(result.request)


def test_a_task_does_not_set_what_the_connection_sets(run: Run) -> None:
    connection = {"headers": {"X-Shop": "7"}, "auth": {"type": "bearer", "secret": "TOKEN"}}

    request, _result = sent_through(
        run, connection=connection, headers={"x-shop": "8", "authorization": "Bearer mine", "X-Other": "9"}
    )

    assert request.lower().count("\r\nx-shop: ") == request.lower().count("\r\nauthorization: ") == 1
    assert "\r\nX-Shop: 7\r\n" in request
    assert f"\r\nAuthorization: Bearer {TOKEN}\r\n" in request
    assert "\r\nX-Other: 9\r\n" in request


def test_a_changed_secret_counts_for_the_next_call(run: Run) -> None:
    async def scenario() -> list[bytes]:
        async with serving(keeps_saying(OK)) as service:
            register(service, auth={"type": "bearer", "secret": "TOKEN"})
            await attempt()
            SECRETS.put({"TOKEN": "another-value-by-now"})
            await attempt()
            return service.requests

    first, second = run(scenario())

    assert f"Bearer {TOKEN}".encode() in first
    assert b"Bearer another-value-by-now" in second


def test_what_holds_a_secret_is_remembered_nowhere(run: Run) -> None:
    target_of.cache_clear()
    outbound._head.cache_clear()

    connection = {"auth": {"type": "bearer", "secret": "TOKEN"}, "headers": {"X-Sign": "${secrets.TOKEN}"}}
    sent_through(run, connection=connection, path="/${secrets.TOKEN}", query={"k": "${secrets.TOKEN}"})

    assert (target_of.cache_info().currsize, outbound._head.cache_info().currsize) == (1, 0)  # its base_url was checked


@pytest.mark.parametrize(
    "path",
    [
        "pay",
        "//evil.example/pay",
        "/pay/../admin",
        "/pay/..",
        "/pay/./x",
        "/pay/%2e%2e/admin",
        "/pay/%2E%2e/admin",
        "/pay/%252e%252e/admin",
        "/pay/..;/admin",
        "/pay/..;x=1/admin",
        "/pay/%2e%2e%2fadmin",
        "/pay/..%2fadmin",
        "/pay%2fadmin",
        "/pay%252fadmin",
        "/pay/..\\admin",
        "/pay%5c..%5cadmin",
        "/pay//admin",
        "/pay/;/admin",
        "/pay?x=1",
        "/pay#x",
        "/pay x",
        "/pay\r\nX: y",
        "/pay%0d%0aX",
        "/pay/%00",
        "/pay/%c0%ae%c0%ae/admin",
        "/pay/%25252525252e",
        "/admin",
        "/payment",
        "",
        "/",
        "/" + "a" * 3000,
        "@evil.example/",
        "http://evil.example/pay",
    ],
)
def test_no_spelling_of_a_path_leaves_the_allowed_ones(run: Run, path: str) -> None:
    async def scenario() -> tuple[ExecutionError, int]:
        async with serving(keeps_saying(OK)) as service:
            register(service, paths=["/pay"])
            return await refusal(path), service.connections

    error, connections = run(scenario())

    assert (error.code, error.permanent, connections) == ("FORBIDDEN_PATH", True, 0)


@pytest.mark.parametrize(
    ("pattern", "path", "is_allowed"),
    [
        ("/pay", "/pay", True),
        ("/pay", "/pay/1", True),
        ("/pay", "/pays", False),
        ("/pay/", "/pay/1", True),
        ("/pay/*", "/pay/1", True),
        ("/pay/*", "/pay/1/2", False),
        ("/pay/*", "/pay", False),
        ("/pay/*/refund", "/pay/a%20b/refund", True),
        ("/v*/**", "/v2/a/b", True),
        ("/a.b", "/aXb", False),
        ("/支付", "/%E6%94%AF%E4%BB%98/1", True),
        ("/", "/anything/at/all", True),
    ],
)
def test_a_pattern_allows_what_it_says(pattern: str, path: str, is_allowed: bool) -> None:
    assert allowed_path(path, patterns=[path_pattern(pattern)]) is is_allowed


def test_a_method_that_is_not_allowed_is_refused(run: Run) -> None:
    async def scenario() -> ExecutionError:
        async with serving(keeps_saying(OK)) as service:
            register(service, methods=["GET"])
            return await refusal(method="DELETE")

    error = run(scenario())

    assert (error.code, error.permanent) == ("FORBIDDEN_METHOD", True)


def test_a_switched_off_connection_fails_clearly_and_may_be_tried_again(run: Run) -> None:
    async def scenario() -> tuple[ExecutionError, int]:
        async with serving(keeps_saying(OK)) as service:
            register(service, is_active=False)
            return await refusal(), service.connections

    error, connections = run(scenario())

    assert str(error) == "the connection payment is switched off"
    assert (error.code, error.permanent, error.unknown, connections) == ("CONNECTION_INACTIVE", False, False, 0)


def test_an_unregistered_connection_may_be_tried_again(run: Run) -> None:
    error = run(refusal())

    assert (error.code, error.permanent) == ("NO_CONNECTION", False)


def test_a_private_address_needs_the_connections_word(run: Run) -> None:
    async def scenario() -> tuple[ExecutionError, int]:
        async with serving(keeps_saying(OK)) as service:
            register(service, private=False)
            return await refusal(), service.connections

    error, connections = run(scenario())

    assert (error.code, connections) == ("FORBIDDEN_ADDRESS", 0)


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "[fe80::1]", "0.0.0.0"])
def test_metadata_addresses_are_refused_whatever_a_connection_says(run: Run, host: str) -> None:
    CONNECTIONS.put([Connection("payment", kind="http", config={"base_url": f"http://{host}", "private": True})])

    error = run(refusal())

    assert error.code == "FORBIDDEN_ADDRESS"


def test_what_was_connected_to_for_a_connection_is_not_used_by_a_plain_task(run: Run, settings: Any) -> None:
    async def scenario() -> tuple[ExecutionError, int]:
        async with serving(keeps_saying(OK)) as service:
            register(service)
            await attempt()
            settings.DIST_TASK = {**settings.DIST_TASK, "ALLOWED_HOSTS_OUT": ("127.0.0.1",)}
            plain = TaskCall("order-1", "pay", "action", -1, 1, {"url": service.url()}, {}, 20.0)
            with pytest.raises(ExecutionError) as caught:
                await HttpExecutor().execute(plain)
            return caught.value, service.connections

    error, connections = run(scenario())

    assert (error.code, connections) == ("FORBIDDEN_ADDRESS", 1)


def test_a_redirect_is_not_followed(run: Run) -> None:
    async def scenario() -> tuple[ExecutionError, int]:
        answer = b"HTTP/1.1 302 Found\r\nLocation: /v1/admin\r\nContent-Length: 0\r\n\r\n"
        async with serving(keeps_saying(answer)) as service:
            register(service)
            return await refusal(), len(service.requests)

    error, requests = run(scenario())

    assert (error.code, requests) == ("HTTP_302", 1)


def test_the_connections_time_limit_is_an_upper_bound(run: Run) -> None:
    async def scenario() -> ExecutionError:
        async with serving(lambda talk: asyncio.sleep(60)) as service:
            register(service, timeout=0.2)
            return await refusal()

    error = run(scenario())

    assert (error.code, str(error)) == ("TIMEOUT", "no answer within 0.2 seconds")


def test_calls_are_kept_on_one_connection(run: Run) -> None:
    async def scenario() -> int:
        async with serving(keeps_saying(OK)) as service:
            register(service, auth={"type": "bearer", "secret": "TOKEN"})
            for _time in range(3):
                await attempt()
            return service.connections

    assert run(scenario()) == 1


# -- TLS --


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate that serves as authority, service and client at once."""
    folder = tmp_path_factory.mktemp("pki")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files], check=True
    )
    return folder


def served_over_tls(run: Run, pki: Path, *, asks_client: bool = False, **tls: Any) -> Result | ExecutionError:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "cert", pki / "key")
    if asks_client:
        context.load_verify_locations(pki / "cert")
        context.verify_mode = ssl.CERT_REQUIRED

    async def scenario() -> Result | ExecutionError:
        async with serving(keeps_saying(OK), name="localhost", tls=context) as service:
            register(service, base_url=service.url("", scheme="https"), tls=tls)
            try:
                return await attempt()
            except ExecutionError as error:
                return error

    found: Result | ExecutionError = run(scenario())
    return found


def code_of(found: Result | ExecutionError) -> str:
    return found.code if isinstance(found, ExecutionError) else "ok"


def test_a_connection_has_authorities_of_its_own(run: Run, pki: Path) -> None:
    assert code_of(served_over_tls(run, pki)) == "TLS_ERROR"
    assert code_of(served_over_tls(run, pki, ca=str(pki / "cert"))) == "ok"
    assert code_of(served_over_tls(run, pki, ca=(pki / "cert").read_text())) == "ok"
    assert code_of(served_over_tls(run, pki, verify=False)) == "ok"


def test_a_client_shows_its_certificate_whose_key_is_a_secret(run: Run, pki: Path) -> None:
    SECRETS.put({"CLIENT_KEY": (pki / "key").read_text()})
    certificate = {"client_cert": (pki / "cert").read_text(), "client_key": "${secrets.CLIENT_KEY}"}

    assert code_of(served_over_tls(run, pki, asks_client=True, ca=str(pki / "cert"), **certificate)) == "ok"
    assert code_of(served_over_tls(run, pki, asks_client=True, ca=str(pki / "cert"))) != "ok"


def test_a_certificate_that_is_none_is_an_error_of_tls(run: Run, pki: Path) -> None:
    found = served_over_tls(run, pki, ca="/there/is/none")

    assert code_of(found) == "TLS_ERROR"
    assert "certificates of the connection" in str(found)


# -- rpc --


def rpc_call(service: str, *, method: str = "payment.deduct") -> TaskCall:
    return TaskCall("order-1", "pay", "action", -1, 1, {"service": service, "method": method}, {"n": 1}, 20.0)


def test_an_rpc_service_may_be_a_registered_name(run: Run) -> None:
    async def scenario() -> tuple[bytes, Result]:
        async with serving(keeps_saying(OK)) as service:
            register(service, kind="rpc", auth={"type": "bearer", "secret": "TOKEN"}, methods=["payment.*"])
            result = await RpcExecutor().execute(rpc_call("payment"))
            return service.requests[0], result

    request, result = run(scenario())

    assert request.startswith(b"POST /v1/rpc HTTP/1.1\r\n")
    assert f"Authorization: Bearer {TOKEN}".encode() in request
    assert json.loads(request.split(b"\r\n\r\n")[1]) == {"method": "payment.deduct", "params": {"n": 1}}
    assert result.output == {"ok": True}
    assert TOKEN not in str(result)


def test_an_rpc_method_that_is_not_allowed_is_refused(run: Run) -> None:
    async def scenario() -> ExecutionError:
        async with serving(keeps_saying(OK)) as service:
            register(service, kind="rpc", methods=["payment.*"])
            with pytest.raises(ExecutionError) as caught:
                await RpcExecutor().execute(rpc_call("payment", method="admin.drop"))
            return caught.value

    assert run(scenario()).code == "FORBIDDEN_METHOD"


# -- checks --

BASE = {"base_url": "https://pay.example/v1"}


def test_a_flow_is_checked_against_the_registered_connection() -> None:
    config = {**BASE, "methods": ["POST"], "paths": ["/pay"], "headers": {"X-Shop": "7"}, "auth": AUTHS[0][0]}
    CONNECTIONS.put([Connection("payment", kind="http", config=config)])
    check = HttpExecutor().check_config

    assert check({"connection": "payment", "path": "/pay/1"}) == []
    assert check({"connection": "other", "path": "/pay"}) == [
        "there is no http connection 'other': it must be registered first"
    ]
    assert check({"connection": "payment", "path": "/admin"}) == ["the connection payment does not allow this path"]
    assert check({"connection": "payment", "path": "/pay", "method": "GET"}) == [
        "the connection payment does not allow the method GET"
    ]
    assert check({"connection": "payment", "path": "/pay", "url": "http://a/"}) == [
        "give url, or connection and path, not both"
    ]
    assert check({"connection": "payment", "path": "/pay", "headers": {"authorization": "x", "x-shop": "8"}}) == [
        "the header authorization is set by the connection",
        "the header x-shop is set by the connection",
    ]


def test_an_rpc_task_is_checked_against_its_connection() -> None:
    CONNECTIONS.put([Connection("payment", kind="rpc", config={**BASE, "methods": ["pay.*"]})])
    check = RpcExecutor().check_config

    assert check({"service": "payment", "method": "pay.now"}) == []
    assert check({"service": "payment", "method": "drop"}) == [
        "the connection payment does not allow the method 'drop'"
    ]
    assert len(check({"service": "stranger", "method": "drop"})) == 1  # its host is not on the list


def test_a_secret_is_no_method() -> None:
    CONNECTIONS.put([Connection("payment", kind="rpc", config=BASE)])

    assert RpcExecutor().check_config({"service": "payment", "method": "${secrets.TOKEN}"})
    assert HttpExecutor().check_config({"url": "https://a.example", "method": "${secrets.TOKEN}"})


@pytest.mark.parametrize("url", ["http://${secrets.HOST}/", "${secrets.URL}", "http://a:${secrets.PORT}/"])
def test_a_secret_chooses_no_host(url: str, settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "ALLOWED_HOSTS_OUT": ("*",)}

    assert HttpExecutor().check_config({"url": url})
    assert RpcExecutor().check_config({"service": url.removeprefix("http://").strip("/"), "method": "pay"})
    assert endpoint_problems({"base_url": url}, kind="http")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"base_url": "pay.example"},
        {"base_url": "https://user:pw@pay.example"},
        {"base_url": "https://pay.example/?a=1"},
        {**BASE, "colour": "red"},
        {**BASE, "methods": "GET"},
        {**BASE, "methods": ["FETCH"]},
        {**BASE, "paths": ["pay"]},
        {**BASE, "paths": ["/a/../b"]},
        {**BASE, "paths": ["/" + "*" * 20]},
        {**BASE, "headers": {"Host": "x"}},
        {**BASE, "headers": {"A": 1}},
        {**BASE, "auth": "x"},
        {**BASE, "auth": {"type": "digest", "secret": "A"}},
        {**BASE, "auth": {"type": "bearer"}},
        {**BASE, "auth": {"type": "bearer", "secret": "no name"}},
        {**BASE, "auth": {"type": "basic", "secret": "A"}},
        {**BASE, "auth": {"type": "basic", "secret": "A", "username": "a:b"}},
        {**BASE, "auth": {"type": "header", "secret": "A", "header": "Content-Length"}},
        {**BASE, "auth": {"type": "bearer", "secret": "A"}, "headers": {"authorization": "x"}},
        {**BASE, "tls": {"ciphers": "x"}},
        {**BASE, "tls": {"verify": "no"}},
        {**BASE, "tls": {"client_key": "x"}},
        {"base_url": "http://pay.example", "tls": {"verify": True}},
        {**BASE, "timeout": 0},
        {**BASE, "timeout": "5"},
        {**BASE, "cap": 0},
        {**BASE, "cap": 1.5},
        {**BASE, "cap": True},
        {**BASE, "private": 1},
    ],
)
def test_a_wrong_connection_is_refused(config: dict[str, Any]) -> None:
    assert endpoint_problems(config, kind="http")


def test_a_right_connection_has_no_problems() -> None:
    config = {
        **BASE,
        "methods": ["GET", "POST"],
        "paths": ["/pay", "/orders/*/items/**"],
        "headers": {"X-Shop": "7", "X-Sign": "${secrets.SIGN}"},
        "auth": {"type": "header", "header": "X-Key", "secret": "KEY"},
        "tls": {"ca": "/etc/ca.pem", "verify": True, "client_cert": "/etc/c.pem", "client_key": "/etc/k.pem"},
        "timeout": 2.5,
        "cap": 10,
        "private": True,
    }

    assert endpoint_problems(config, kind="http") == []
    assert literal_secrets(config) == []


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"password": "hunter2x"}, "password"),
        ({"headers": {"Authorization": "Bearer abc.def"}}, "headers.Authorization"),
        ({"headers": {"X-Custom": "Basic abcdef=="}}, "headers.X-Custom"),
        ({"headers": {"X-Api-Key": "abcdef"}}, "headers.X-Api-Key"),
        ({"dsn": "amqp://shop:hunter2x@mq/"}, "dsn"),
        ({"dsn": "host=db password=hunter2x"}, "dsn"),
        ({"tls": {"client_key": "-----BEGIN RSA PRIVATE KEY-----\nabc"}}, "tls.client_key"),
        ({"auth": {"type": "bearer", "secret": "sk-live-4711"}}, "auth.secret"),
        ({"list": [{"token": 12345678}]}, "list[0].token"),
    ],
)
def test_a_credential_in_the_configuration_is_found_and_not_told(config: dict[str, Any], path: str) -> None:
    (problem,) = literal_secrets(config)

    assert problem.startswith(f"{path} looks like a credential")
    assert not any(word in problem for word in ("hunter2x", "abc", "sk-live", "12345678"))


@pytest.mark.parametrize(
    "config",
    [
        {"password": "${secrets.DB}"},
        {"dsn": "amqp://shop:${secrets.MQ}@mq/"},
        {"headers": {"Authorization": "Bearer ${secrets.A}"}},
        {"auth": {"type": "bearer", "secret": "PAYMENT_TOKEN"}},
        {"host": "db.example", "user": "shop", "verify": True},
        {"token": ""},
    ],
)
def test_a_named_secret_is_no_credential(config: dict[str, Any]) -> None:
    assert literal_secrets(config) == []


def test_connections_of_the_settings_are_there_and_stored_ones_come_first(settings: Any) -> None:
    given = {"payment": {"kind": "http", **BASE, "cap": 3}, "stock": {"kind": "http", "base_url": "http://stock"}}
    settings.DIST_TASK = {**settings.DIST_TASK, "CONNECTIONS": given}

    CONNECTIONS.put([Connection("payment", kind="http", config={"base_url": "http://other", "cap": 5})])

    assert CONNECTIONS.find("payment", kind="http").config["base_url"] == "http://other"
    assert CONNECTIONS.find("stock", kind="http").config == {"base_url": "http://stock"}
    assert CONNECTIONS.get("stock", kind="db") is None
    assert CONNECTIONS.caps == {"payment": 5}


def test_the_settings_of_a_connection_are_filled() -> None:
    connection = Connection("db", kind="db", config={"user": "shop", "password": "${secrets.TOKEN}"})

    assert connection.settings() == {"user": "shop", "password": TOKEN}
    assert connection.config["password"] == "${secrets.TOKEN}"
