"""What an answer says about the work (FLOWS, "Outcome of an attempt"): a task's config and an answer give the verdict.

Pure. What comes first counts: a service that says "not yet" (202 where a callback was offered, 425), a gateway that
does not know (502, 504), then what the config says (`ok_when`, `result_protocol`), then the status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import ExecutionError
from dist_task.payload import for_log, loads_untrusted, redact
from dist_task.problems import Fault, InvalidValue, Problems, faults
from dist_task.redaction import REDACTOR
from dist_task.states import WaitsFor
from flows.expressions import Expression, ExpressionFailed, as_condition, read
from flows.templates import Scope

from . import failures
from .base import Ongoing, Result
from .callback import callback_problems, is_offered
from .connection import Answer

KEYS = frozenset({"result_protocol", "ok_when", "error_code", "ongoing_within", "callback", "callback_within"})
"""Of a config: what the author says about answers. No template may stand there."""
EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        "result_protocol": "envelope",
        "ok_when": "body.state = 'done'",
        "error_code": "body.reason",
        "ongoing_within": 3600,
        "callback": True,
        "callback_within": 3600,
    }
)
PROTOCOLS = frozenset({"dtm", "envelope"})
KEPT_HEADERS = tuple((name, name.lower().encode()) for name in ("Content-Type", "Location", "ETag", "X-Request-Id"))
ACCEPTED = 202
ONGOING_STATUS = 425
CONFLICT = 409  # dtm's word for a definite failure
UNKNOWN_STATUSES = frozenset({502, 504})
RETRYABLE_STATUSES = frozenset({408, 429})
LONGEST_RETRY_AFTER_SECONDS = 86_400.0
LEAST_PAUSE_SECONDS = 0.1
"""Between two questions to a service that is at it, whatever interval its task names."""
ONGOING_SECONDS = 86_400
MOST_ONGOING_SECONDS = 366 * 86_400
LONGEST_PATH = 200
LONGEST_CODE = 100
_DECIDING = frozenset({"ok_when", "result_protocol", "callback"})
_ROOTS = frozenset({"status", "headers", "body"})
_PATH = re.compile(r"(status|headers|body)(\.[^.\s]+)*")


class Heard(NamedTuple):
    """An answer, read. `request` and `response` are for the log."""

    answer: Answer
    output: dict[str, Any]
    request: dict[str, Any]
    response: dict[str, Any]
    note: str = ""

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def body(self) -> Any:
        return self.output["body"]

    @property
    def document(self) -> dict[str, Any]:
        return document_of(self.answer, body=self.body)


def document_of(answer: Answer, *, body: Any) -> dict[str, Any]:
    """What `ok_when` and `error_code` see: every header, its name in lower case."""
    headers = {name.decode("latin-1"): value.strip().decode(errors="replace") for name, value in answer.headers.items()}
    return {"status": answer.status, "headers": headers, "body": body}


def verdict(answer: Answer, *, config: Mapping[str, Any], request: dict[str, Any]) -> Result | Ongoing | ExecutionError:
    """Never raises. `output` of a result is `{status, headers, body}`; with an envelope its `data`, too."""
    body, note = parsed_body(answer) if not answer.is_cut else _in_place_of_body()
    headers = {name: answer.header(key) for name, key in KEPT_HEADERS if key in answer.headers}
    if REDACTOR.is_needed:  # before anything is cut
        body, headers = redact(body), redact(headers)
    output = {"status": answer.status, "headers": headers, "body": body}
    logged = for_log(body, text=answer.body, limit=conf.MAX_LOG_BYTES)
    response = output if logged is body else {**output, "body": logged}
    if 200 <= answer.status < 300 and _DECIDING.isdisjoint(config):  # nearly all
        return Result(output=output, request=request, response=response, note=note)
    if answer.is_cut:
        return unjudged(request=request, response=response)
    return _judged(Heard(answer, output, request, response, note), config=config)


def _in_place_of_body() -> tuple[str, str]:
    limit = conf.MAX_RESPONSE_BYTES
    return f"[cut: larger than {limit} bytes]", f"the body is larger than {limit} bytes, and was not kept"


def unjudged(*, request: dict[str, Any], response: dict[str, Any] | None) -> ExecutionError:
    """What became of the work is said in a body that is not here: a person has to look at it."""
    error = failures.too_large(conf.MAX_RESPONSE_BYTES)
    error.request, error.response = request, response
    return error


def parsed_body(answer: Answer) -> tuple[Any, str]:
    """JSON where it is JSON, else the text; and a note where it says that it is JSON, and cannot be read as such."""
    if not answer.body:
        return None, ""
    kind, note = answer.header(b"content-type"), ""
    if kind is None or "json" in kind:
        try:
            return loads_untrusted(answer.body), ""
        except ValueError as error:
            note = f"the body could not be read as JSON, and was kept as text: {error}"[:300] if kind else ""
    return answer.body.decode("utf-8", errors="replace"), note


def _judged(heard: Heard, *, config: Mapping[str, Any]) -> Result | Ongoing | ExecutionError:
    if heard.status == ACCEPTED and is_offered(config):
        seconds = config.get("callback_within")
        return Ongoing(WaitsFor.CALLBACK, seconds=seconds, request=heard.request, response=heard.response)
    if heard.status == ONGOING_STATUS:
        return _ongoing(heard, config=config)
    if heard.status in UNKNOWN_STATUSES:
        return _failure(heard, config=config, permanent=False, unknown=True)
    if "ok_when" in config:
        return _by_expression(heard, config=config)
    protocol = config.get("result_protocol")
    if protocol == "dtm":
        return _by_dtm(heard, config=config)
    if protocol == "envelope" and _is_envelope(heard.body):
        return _by_envelope(heard, config=config)
    return _by_status(heard, config=config)


def _ongoing(heard: Heard, *, config: Mapping[str, Any]) -> Ongoing:
    return Ongoing(
        WaitsFor.SERVICE,
        least_seconds=max(retry_after(heard.answer), LEAST_PAUSE_SECONDS),
        within=config.get("ongoing_within", ONGOING_SECONDS),
        request=heard.request,
        response=heard.response,
    )


def _by_status(heard: Heard, *, config: Mapping[str, Any]) -> Result | ExecutionError:
    status = heard.status
    if 200 <= status < 300:
        return _success(heard)
    is_retryable = status >= 500 or status in RETRYABLE_STATUSES
    if config.get("retry_on_4xx") and 400 <= status < 500:
        is_retryable = True
    return _failure(heard, config=config, permanent=not is_retryable)


def _by_dtm(heard: Heard, *, config: Mapping[str, Any]) -> Result | ExecutionError:
    if heard.status == 200:
        return _success(heard)
    return _failure(heard, config=config, permanent=heard.status == CONFLICT)


def _by_envelope(heard: Heard, *, config: Mapping[str, Any]) -> Result | ExecutionError:
    code, message = heard.body["code"], heard.body["message"]
    if code == 0:
        return _success(heard._replace(output={**heard.output, "data": heard.body.get("data")}))
    return _failure(heard, config=config, code=str(code)[:LONGEST_CODE], message=message[:500])


def _is_envelope(body: Any) -> bool:
    if not isinstance(body, dict) or not isinstance(body.get("message"), str):
        return False
    code = body.get("code")
    return isinstance(code, int) and not isinstance(code, bool)


def _by_expression(heard: Heard, *, config: Mapping[str, Any]) -> Result | ExecutionError:
    try:
        is_ok = as_condition(Expression(config["ok_when"], "ok_when").evaluate_over(heard.document))
    except ExpressionFailed as error:
        return _failed(heard, code=error.code, message=str(error))
    if is_ok:
        return _success(heard)
    return _failure(heard, config=config, code="NOT_OK", message=_("the answer is not what ok_when asks for"))


def _success(heard: Heard) -> Result:
    return Result(output=heard.output, request=heard.request, response=heard.response, note=heard.note)


def _failure(
    heard: Heard,
    *,
    config: Mapping[str, Any],
    permanent: bool = True,
    unknown: bool = False,
    code: str = "",
    message: str = "",
) -> ExecutionError:
    """The code is the one that `error_code` leads to, else the given one, else the service's own, else the status."""
    found = business_code(config.get("error_code"), document=heard.document)
    answered = _("the service answered %(status)d%(reason)s")
    return _failed(
        heard,
        code=found or code or _code(heard.body) or f"HTTP_{heard.status}",
        message=message or answered % {"status": heard.status, "reason": _reason(heard.body)},
        permanent=permanent,
        unknown=unknown,
    )


def _failed(heard: Heard, *, code: str, message: str, permanent: bool = True, unknown: bool = False) -> ExecutionError:
    return ExecutionError(
        message,
        code=code,
        permanent=permanent,
        unknown=unknown,
        retry_after_seconds=retry_after(heard.answer),
        request=heard.request,
        response=heard.response,
    )


def business_code(path: str | None, *, document: Mapping[str, Any]) -> str:
    """What stands at the end of a dotted path; "" where that is no text and no number, or there is no path."""
    found: Any = document
    for name in path.split(".") if path else ():
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list) and name.isascii() and name.isdigit() and int(name[:9]) < len(found):
            found = found[int(name[:9])]
        else:
            return ""
    return _as_code(found)


def _as_code(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value)[:LONGEST_CODE]


def _code(body: Any) -> str:
    """The business code of an error answer: `code`, or `error.code`, where it is a short string or a number."""
    if not isinstance(body, dict):
        return ""
    error = body.get("error")
    return _as_code(error.get("code") if isinstance(error, dict) else body.get("code", error))


def _reason(body: Any) -> str:
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message") if isinstance(error, dict) else error
    return f": {message[:500]}" if isinstance(message, str) and message else ""


def retry_after(answer: Answer) -> float:
    """Seconds to wait at least; the header holds seconds or an HTTP date."""
    value = answer.header(b"retry-after") or ""
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_RETRY_AFTER_SECONDS)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    seconds = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


# -- checking a config --


def verdict_problems(config: Mapping[str, Any], *, protocols: frozenset[str] = PROTOCOLS) -> list[str]:
    if config.keys().isdisjoint(KEYS):
        return []
    problems: list[str] = []
    protocol = config.get("result_protocol")
    if "result_protocol" in config and (not isinstance(protocol, str) or protocol not in protocols):
        sentence = _("result_protocol must be one of %(protocols)s") % {"protocols": ", ".join(sorted(protocols))}
        problems.append(Fault(sentence, key="result_protocol"))
    if "ok_when" in config:
        problems += faults("ok_when", _expression_problems(config["ok_when"]))
    path = config.get("error_code", "status")
    if not isinstance(path, str) or len(path) > LONGEST_PATH or not _PATH.fullmatch(path):
        sentence = _("error_code must be a path that begins with body, headers or status, like body.code")
        problems.append(Fault(sentence, key="error_code"))
    for key in ("ongoing_within", "callback_within"):
        if not is_seconds(config.get(key, 1)):
            message = _("%(key)s must be a number of seconds up to %(most)d")
            problems.append(Fault(message % {"key": key, "most": MOST_ONGOING_SECONDS}, key=key))
    return problems + callback_problems(config) + _clashes(config)


def is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MOST_ONGOING_SECONDS


def _clashes(config: Mapping[str, Any]) -> list[str]:
    """Each of these alone says what an answer means: beside another one it would mean nothing."""
    for one, other in (("ok_when", "result_protocol"), ("ok_when", "retry_on_4xx")):
        if one in config and other in config:
            return [Fault(_("give %(one)s or %(other)s, not both") % {"one": one, "other": other}, key=other)]
    if config.get("result_protocol") == "dtm" and "retry_on_4xx" in config:
        both = {"one": "result_protocol dtm", "other": "retry_on_4xx"}
        return [Fault(_("give %(one)s or %(other)s, not both") % both, key="retry_on_4xx")]
    return []


def _expression_problems(text: Any) -> list[str]:
    try:
        if isinstance(text, str):
            _refuse_unsound(text)
        else:
            _read(text)
    except InvalidValue as error:
        return [str(each) for each in error.problems]
    return []


def _read(text: Any) -> None:
    problems = Problems(root="ok_when")
    read(text, path="ok_when", problems=problems, scope=Scope(_ROOTS, ids=(), ancestors=(), aliases={}))
    if len(problems):
        raise InvalidValue(problems.report())


_refuse_unsound = lru_cache(maxsize=1_000)(_read)
"""A config with templates is checked at every attempt. What is refused is not remembered: problems speak a language."""
