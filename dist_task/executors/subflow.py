"""`subflow` tasks: another flow is run as a transaction of its own; the task ends as that one does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _

from dist_task.problems import faults
from dist_task.states import WaitsFor

from .base import Ongoing, TaskCall

LONGEST = 100
KEYS = ("flow", "flow_id")


class SubflowExecutor:
    """`flow`: the name of a flow, of which the newest active version runs. `flow_id`: one version, for ever.

    What the task is given are the parameters of that transaction, which the engine starts (engine/children.py).
    """

    kind: ClassVar[str] = "subflow"
    is_trusted: ClassVar[bool] = True
    is_harmless: ClassVar[bool] = True
    fixed_keys: ClassVar[frozenset[str]] = frozenset(KEYS)
    examples: ClassVar[Mapping[str, Any]] = {"flow": "ship_order", "flow_id": "x7Kq2mPw"}

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        strangers = [key for key in config if key not in KEYS]
        if strangers or len(config) != 1:
            sentence = _("say either flow, a name, or flow_id, and nothing else")
            return faults(strangers[0] if strangers else "flow", [sentence])
        (key, value) = next(iter(config.items()))
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
            return faults(
                key, [_("%(key)s must be a text of 1 to %(most)d characters") % {"key": key, "most": LONGEST}]
            )
        return []

    def target(self, config: Mapping[str, Any]) -> str:
        return ""

    async def execute(self, call: TaskCall) -> Ongoing:
        return Ongoing(WaitsFor.CHILD)

    async def close(self) -> None:
        """Nothing was opened."""
