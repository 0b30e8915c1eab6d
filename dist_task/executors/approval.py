"""`approval` tasks: nothing is called; a person says whether the transaction goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _

from dist_task.problems import Fault
from dist_task.states import WaitsFor

from .base import Ongoing, TaskCall
from .http import unknown_keys

MOST_SECONDS = 366 * 86_400
LONGEST = {"role": 150, "message": 2_000}
KEYS = frozenset({"role", "message", "within"})


class ApprovalExecutor:
    """`role`: the group whose members may decide (default: all operators). `within`: seconds until it is too late."""

    kind: ClassVar[str] = "approval"
    is_trusted: ClassVar[bool] = True
    is_harmless: ClassVar[bool] = True
    fixed_keys: ClassVar[frozenset[str]] = frozenset({"role", "within"})
    examples: ClassVar[Mapping[str, Any]] = {"role": "risk", "message": "Refund ${params.amount}?", "within": 86_400}

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        problems = unknown_keys(config, known=KEYS)
        for key, longest in LONGEST.items():
            value = config.get(key, "")
            if not isinstance(value, str) or len(value) > longest:
                message = _("%(key)s must be a text of at most %(most)d characters")
                problems.append(Fault(message % {"key": key, "most": longest}, key=key))
        within = config.get("within", 1)
        if isinstance(within, bool) or not isinstance(within, int | float) or not 0 < within <= MOST_SECONDS:
            sentence = _("within must be a number of seconds up to %(most)d") % {"most": MOST_SECONDS}
            problems.append(Fault(sentence, key="within"))
        return problems

    def changes_nothing(self, config: Mapping[str, Any]) -> bool:
        return True

    def target(self, config: Mapping[str, Any]) -> str:
        return ""

    async def execute(self, call: TaskCall) -> Ongoing:
        """The message is kept with the wait, so that who decides reads what the flow says of this transaction."""
        shown = {"message": call.config.get("message", ""), "role": call.config.get("role", "")}
        return Ongoing(WaitsFor.APPROVAL, seconds=call.config.get("within"), response=shown)

    async def close(self) -> None:
        """Nothing was opened."""
