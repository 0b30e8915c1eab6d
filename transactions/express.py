"""The express lane: plain starts and plain reads of transactions, answered for many clients at once.

An ASGI application around the ordinary one. What it takes leaves nothing to refuse: no cookie, no query, a small
well-formed body, a caller who may. Everything else, and whatever it cannot answer with success, goes the ordinary way
through Django's middleware and the view, which therefore say every error. What middleware adds to an answer is not
rebuilt here either: it is learned from the ordinary answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from dist_task.authentication import actor
from dist_task.conf import conf
from dist_task.engine.start import StartRequest, start_gathered
from dist_task.envelope import EnvelopeRenderer
from dist_task.gather import Gather
from dist_task.payload import check_strict
from dist_task.wire import read_json

from .api import TransactionViewSet, shown_start
from .plain import plain_id, plain_start
from .reading import read, shown_in_full

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Frame = list[tuple[bytes, bytes]]
FrameKey = tuple[Any, ...]

COLLECTION = "/api/v1/transactions"
MOST_BYTES = 65_536
MOST_FRAMES = 256
JSON_TYPES = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})
FRAMED_BY = (b"host", b"accept-language", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"origin")
"""The request headers that Django's middleware looks at, beside cookies, to refuse a request or to add headers."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the express lane. `what`: the start, or the instance_id to show."""

    authorization: bytes
    what: Any


class Express:
    def __init__(self, app: App) -> None:
        self.app = app
        self.frames = Frames()
        self.starts: Gather[Asked, bytes] = Gather(start_all, name="starts")
        self.shows: Gather[Asked, bytes] = Gather(show_all, name="shows")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = plain_headers(scope)
        if headers is None:
            await self.app(scope, receive, send)
        elif scope["method"] == "POST" and scope["path"] == COLLECTION:
            await self.start(scope, receive, send, headers=headers)
        elif scope["method"] == "GET" and (instance_id := shown_id(scope["path"])):
            asked = Asked(headers.get(b"authorization", b""), instance_id)
            await self.answer(scope, receive, send, key=frame_key(scope, headers=headers), asked=asked)
        else:
            await self.app(scope, receive, send)

    async def start(self, scope: Message, receive: Receive, send: Send, *, headers: dict[bytes, bytes]) -> None:
        if not is_small(headers) or headers.get(b"content-type", b"").lower() not in JSON_TYPES:
            await self.app(scope, receive, send)
            return
        body = await whole(receive)
        if body is None:
            return  # the client went away
        wanted = start_in(body)
        asked = Asked(headers.get(b"authorization", b""), wanted) if wanted else None
        await self.answer(scope, replay(body), send, key=frame_key(scope, headers=headers), asked=asked)

    async def answer(self, scope: Message, receive: Receive, send: Send, *, key: FrameKey, asked: Asked | None) -> None:
        frame = self.frames.get(key)
        if asked is None:
            await self.app(scope, receive, send)
        elif frame is None:
            await self.app(scope, receive, self.frames.learning(key, send=send))
        elif (content := await self.content_for(asked)) is None:
            await self.app(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": framed(frame, content=content)})
            await send({"type": "http.response.body", "body": content})

    async def content_for(self, asked: Asked) -> bytes | None:
        gather = self.starts if isinstance(asked.what, StartRequest) else self.shows
        return await gather.result_of(asked)


# -- what is plain -------------------------------------------------------------------------------------------


def plain_headers(scope: Message) -> dict[bytes, bytes] | None:
    if scope["query_string"] or not scope["path"].startswith(COLLECTION):
        return None
    headers = dict(scope["headers"])
    if b"cookie" in headers or b"transfer-encoding" in headers or len(headers) != len(scope["headers"]):
        return None
    return headers


def is_small(headers: dict[bytes, bytes]) -> bool:
    length = headers.get(b"content-length", b"")
    return length.isdigit() and len(length) < 10 and int(length) <= min(MOST_BYTES, conf.MAX_BODY_BYTES)


def shown_id(path: str) -> str | None:
    return plain_id(path[len(COLLECTION) + 1 :]) if path.startswith(COLLECTION + "/") else None


def start_in(body: bytes) -> StartRequest | None:
    try:
        value = read_json(body)
    except APIException:
        return None
    wanted = plain_start(value)
    return wanted if wanted and not check_strict(value, path="") else None


async def whole(receive: Receive) -> bytes | None:
    pieces = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


def replay(body: bytes) -> Receive:
    async def replayed() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


# -- what middleware adds ------------------------------------------------------------------------------------


class Frames:
    """The headers of ordinary answers with success; they depend on no more than what `frame_key` names."""

    def __init__(self) -> None:
        self._known: dict[FrameKey, Frame] = {}

    def get(self, key: FrameKey) -> Frame | None:
        return self._known.get(key)

    def learning(self, key: FrameKey, *, send: Send) -> Send:
        async def learned(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                self._learn(key, frame=list(message["headers"]))
            await send(message)

        return learned

    def _learn(self, key: FrameKey, *, frame: Frame) -> None:
        names = {name for name, _ in frame}
        if b"set-cookie" in names or b"content-length" not in names:
            return
        if len(self._known) >= MOST_FRAMES:
            self._known.clear()  # somebody tries hosts or languages; the next answers teach again
        self._known[key] = frame


def frame_key(scope: Message, *, headers: dict[bytes, bytes]) -> FrameKey:
    seen = tuple(headers.get(name) for name in FRAMED_BY)
    return (scope["method"], scope.get("scheme"), b"authorization" in headers, *seen)


def framed(frame: Frame, *, content: bytes) -> Frame:
    length = str(len(content)).encode()
    return [(name, length if name == b"content-length" else value) for name, value in frame]


# -- the work, on the gathering thread -----------------------------------------------------------------------


def start_all(asked: list[Asked]) -> list[bytes | None]:
    callers = Callers(action="create")
    wanted = [(each.what, name) for each in asked if (name := callers.name_of(each.authorization)) is not None]
    started = iter(start_gathered(wanted) if wanted else [])
    results = [next(started) if callers.name_of(each.authorization) is not None else None for each in asked]
    return [success(shown_start(result)) if result else None for result in results]


def show_all(asked: list[Asked]) -> list[bytes | None]:
    callers = Callers(action="retrieve")
    ids = {each.what for each in asked if callers.name_of(each.authorization) is not None}
    rows = read(ids) if ids else []
    shown = {row.instance_id: success(full) for row, full in zip(rows, shown_in_full(rows), strict=True)}
    return [shown.get(each.what) if callers.name_of(each.authorization) is not None else None for each in asked]


def success(data: Any) -> bytes:
    return EnvelopeRenderer().render(data)


class Callers:
    """Who asks, and whether he may: the view's own rules, applied once per token and batch."""

    def __init__(self, *, action: str) -> None:
        self._view = TransactionViewSet(action=action)
        self._names: dict[bytes, str | None] = {}

    def name_of(self, authorization: bytes) -> str | None:
        """None: the ordinary way says why not."""
        if authorization not in self._names:
            self._names[authorization] = self._judge(authorization)
        return self._names[authorization]

    def _judge(self, authorization: bytes) -> str | None:
        bare = HttpRequest()
        bare.META = {"HTTP_AUTHORIZATION": authorization.decode("latin-1")}
        request = Request(bare, authenticators=self._view.get_authenticators())
        try:
            allowed = all(rule.has_permission(request, self._view) for rule in self._view.get_permissions())
        except APIException:
            return None
        return actor(request) if allowed else None
