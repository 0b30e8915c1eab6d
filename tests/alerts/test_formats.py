"""What each kind of channel is sent: the format, the signature computed anew, and names that try to break out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dist_task.alerts.formats import BadSecret, Message, Post, post_of, refusal
from dist_task.alerts.texts import Notice, notice, plain
from dist_task.alerts.words import CHATS

from .conftest import KEY, WHSEC

HOSTILE = 'x\n@all <!channel> <@U1> <at user_id="all">a</at> [l](http://e) **b** &amp; \u202e\u200b\r\n# h'
ALERT = {
    "rule": HOSTILE,
    "kind": "exceptions",
    "severity": "critical",
    "state": "firing",
    "value": 12,
    "flow_name": HOSTILE,
    "outcome": "",
    "threshold": 10,
    "window_seconds": 300,
    "sequence": 1,
    "since": "2026-01-31T02:00:00Z",
    "url": "https://tasks.example/admin/",
}


def message(*, secret: str = "", language: str = "en", **changes: Any) -> Message:
    payload = {**ALERT, **changes}
    told = notice("alert.firing", payload, language=language)
    return Message(
        id="msg_1",
        event="alert.firing",
        timestamp="2026-01-31T02:00:01.000Z",
        payload=payload,
        notice=told,
        url="https://chat.example/send?key=1",
        secret=secret,
        now=1_769_824_801,
    )


def body(post: Post) -> Any:
    return json.loads(post.body)


def test_a_webhook_is_signed_as_the_standard_says() -> None:
    post = post_of("webhook", message(secret=WHSEC))

    signed = b"msg_1.1769824801." + post.body
    expected = "v1," + base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    assert post.headers["webhook-id"] == "msg_1"
    assert post.headers["webhook-timestamp"] == "1769824801"
    assert post.headers["webhook-signature"] == expected
    assert body(post) == {"type": "alert.firing", "timestamp": "2026-01-31T02:00:01.000Z", "data": ALERT}


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "sesame-sesame", "whsec_?", "whsec_" + "A" * 28, WHSEC.removeprefix("whsec_")]
)
def test_what_is_no_signing_secret_signs_nothing(secret: str) -> None:
    with pytest.raises(BadSecret):
        post_of("webhook", message(secret=secret))


def test_dingtalk_signs_the_milliseconds_in_the_query() -> None:
    post = post_of("dingtalk", message(secret="SEC1"))

    query = parse_qs(urlsplit(post.url).query)
    digest = hmac.digest(b"SEC1", b"1769824801000\nSEC1", hashlib.sha256)
    assert query == {"key": ["1"], "timestamp": ["1769824801000"], "sign": [base64.b64encode(digest).decode()]}
    assert body(post)["msgtype"] == "text"
    assert body(post)["at"] == {"isAtAll": False}


def test_feishu_signs_nothing_with_the_time_and_the_secret_as_key() -> None:
    sent = body(post_of("feishu", message(secret="SEC1")))

    digest = hmac.digest(b"1769824801\nSEC1", b"", hashlib.sha256)
    assert (sent["timestamp"], sent["sign"]) == ("1769824801", base64.b64encode(digest).decode())
    parts = [part for line in sent["content"]["post"]["zh_cn"]["content"] for part in line]
    assert {part["tag"] for part in parts} == {"text", "a"}
    assert [part["href"] for part in parts if part["tag"] == "a"] == ["https://tasks.example/admin/"]


@pytest.mark.parametrize("kind", ["dingtalk", "feishu"])
def test_without_a_secret_nothing_is_signed(kind: str) -> None:
    post = post_of(kind, message())

    assert "sign" not in post.url
    assert "sign" not in body(post)


def test_wecom_gets_text_that_is_short_enough() -> None:
    sent = body(post_of("wecom", message(rule="名" * 500, flow_name="流" * 500)))

    assert sent["msgtype"] == "text"
    assert set(sent["text"]) == {"content"}
    assert len(sent["text"]["content"].encode()) <= 2_048


def test_slack_gets_plain_text_escaped() -> None:
    sent = body(post_of("slack", message()))

    (block,) = sent["blocks"]
    assert block["text"]["type"] == "plain_text"
    assert block["text"]["text"] == sent["text"]
    assert "&lt;!channel&gt;" in sent["text"]
    assert "&amp;amp;" in sent["text"]


@pytest.mark.parametrize("kind", sorted(CHATS))
def test_a_name_calls_nobody_and_begins_no_line(kind: str) -> None:
    usual = post_of(kind, message(rule="many", flow_name="orders")).body
    sent = post_of(kind, message()).body

    assert b"@" not in sent
    assert sent.count(b"\\n") == usual.count(b"\\n")
    assert not any(hidden in sent.decode() for hidden in ("\u202e", "\u200b", "\\r"))
    if kind == "slack":
        assert b"<" not in sent


def test_a_plain_name_is_one_bounded_line() -> None:
    assert plain("a\tb\n\nc\x00d\u2028e") == "a b c d e"
    assert plain("@all") == "\uff20all"
    assert len(plain("x" * 5_000)) == 100


def test_an_alert_speaks_the_language_of_its_channel() -> None:
    said = notice("alert.firing", {**ALERT, "rule": "many", "flow_name": "orders"}, language="en")

    assert said == Notice(
        "[critical] many",
        ("flow: orders", "12 exceptions need a person (at least 10 within 300 s)", "since 2026-01-31T02:00:00Z"),
        "https://tasks.example/admin/",
    )


@pytest.mark.parametrize(
    ("kind", "status", "answer", "taken"),
    [
        ("webhook", 200, b"", True),
        ("webhook", 204, b"", True),
        ("webhook", 302, b"", False),
        ("webhook", 500, b"", False),
        ("slack", 200, b"ok", True),
        ("slack", 404, b"no_service", False),
        ("wecom", 200, b'{"errcode":0,"errmsg":"ok"}', True),
        ("wecom", 200, b'{"errcode":93000,"errmsg":"invalid webhook url"}', False),
        ("dingtalk", 200, b'{"errcode":0,"errmsg":"ok"}', True),
        ("dingtalk", 200, b'{"errcode":310000,"errmsg":"sign not match"}', False),
        ("feishu", 200, b'{"code":0,"msg":"success"}', True),
        ("feishu", 200, b'{"code":19021,"msg":"sign match fail"}', False),
        ("feishu", 200, b"<html>", False),
        ("feishu", 200, b"[]", False),
        ("wecom", 200, b"", False),
    ],
)
def test_what_an_answer_means(kind: str, status: int, answer: bytes, taken: bool) -> None:
    assert (refusal(kind, status=status, body=answer) == "") is taken


def test_a_refusal_says_why() -> None:
    assert (
        refusal("feishu", status=200, body=b'{"code":19021,"msg":"sign match fail"}') == "code 19021: sign match fail"
    )
