"""The verbs that a batch can do, and what each asks for: the same functions and permissions as for one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from dist_task.batches.words import Target
from dist_task.engine import operate
from dist_task.errors import InvalidRequest
from dist_task.four_eyes.words import Act
from dist_task.states import Resolution

RETRY, HANDLE = "exceptions_app.retry_exceptionrecord", "exceptions_app.handle_exceptionrecord"
SKIP, COMPLETE = "exceptions_app.skip_exceptionrecord", "exceptions_app.complete_exceptionrecord"
PAUSE, RERUN = "transactions.pause_transaction", "transactions.rerun_transaction"
ASSIGN, COMMENT = "exceptions_app.assign_exceptionrecord", "exceptions_app.comment_exceptionrecord"
SETTLED = {"output": "output", "force": "force"}
RETRIED = {"delay": "delay_seconds", "force": "force"}
CHANGE, COMPENSATE = "transactions.change_transaction", "transactions.compensate_transaction"


@dataclass(frozen=True, slots=True)
class Verb:
    """`parameters`: by their names on the wire, the keywords of the function. `permission`: that of the single verb.

    `act`: what the four-eyes rule calls it, where it does. A second person is asked once, for the whole batch.
    """

    function: Callable[..., object]
    permission: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    act: str = ""
    required: frozenset[str] = frozenset()

    def apply(self, key: int | str, *, parameters: Mapping[str, Any], actor: str, remark: str) -> None:
        given = {self.parameters[name]: value for name, value in parameters.items() if name in self.parameters}
        self.function(key, actor=actor, remark=remark, **given)


VERBS: Mapping[tuple[str, str], Verb] = {
    ("exceptions", "retry"): Verb(operate.retry_exception, RETRY, RETRIED),
    ("exceptions", "handle"): Verb(operate.handle_exception, HANDLE, {"resolution": "resolution"}),
    ("exceptions", "skip"): Verb(operate.skip_run, SKIP, SETTLED),
    ("exceptions", "complete"): Verb(operate.complete_run, COMPLETE, SETTLED),
    ("exceptions", "assign"): Verb(
        operate.assign_exception, ASSIGN, {"assignee": "assignee", "force": "force"}, required=frozenset({"assignee"})
    ),
    ("exceptions", "comment"): Verb(operate.comment_exception, COMMENT),
    ("transactions", "retry"): Verb(operate.retry_transaction, RETRY),
    ("transactions", "pause"): Verb(operate.pause_transaction, PAUSE),
    ("transactions", "resume"): Verb(operate.resume_transaction, PAUSE),
    ("transactions", "cancel"): Verb(operate.cancel_transaction, CHANGE),
    ("transactions", "compensate"): Verb(operate.undo_transaction, COMPENSATE, act=Act.COMPENSATE),
    ("transactions", "rerun"): Verb(operate.rerun_transaction, RERUN, {"tasks": "tasks", "force": "force"}),
}


def find(target: str, verb: str) -> Verb:
    """InvalidRequest for one that there is not."""
    found = VERBS.get((target, verb))
    if found is None:
        known = ", ".join(name for of, name in VERBS if of == target)
        raise InvalidRequest(_("the verb must be one of %(known)s") % {"known": known})
    return found


def check_parameters(verb: Verb, parameters: Mapping[str, Any]) -> None:
    unknown = sorted(set(parameters) - set(verb.parameters))
    if unknown:
        message = _("this verb knows no parameter %(names)s")
        raise InvalidRequest(message % {"names": ", ".join(unknown)})
    if lacking := sorted(verb.required - parameters.keys()):
        raise InvalidRequest(_("this verb needs the parameter %(names)s") % {"names": ", ".join(lacking)})
    delay = parameters.get("delay")
    if delay is not None and not 0 <= delay <= operate.LONGEST_DELAY_SECONDS:
        message = _("delay must be from 0 to %(most)d seconds")
        raise InvalidRequest(message % {"most": operate.LONGEST_DELAY_SECONDS})
    if parameters.get("resolution", Resolution.ACKNOWLEDGED) not in Resolution.values:
        raise InvalidRequest(_("resolution must be one of %(choices)s") % {"choices": ", ".join(Resolution.values)})


def key_of(target: str, *, target_id: int, name: str) -> int | str:
    """What the verbs of this target call a row by."""
    return target_id if target == Target.EXCEPTIONS else name
