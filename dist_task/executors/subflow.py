"""`subflow` tasks: another flow is run as a transaction of its own; the task ends as that one does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _

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

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        if len(config) != 1 or next(iter(config)) not in KEYS:
            return [_("say either flow, a name, or flow_id, and nothing else")]
        (key, value) = next(iter(config.items()))
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
            return [_("%(key)s must be a text of 1 to %(most)d characters") % {"key": key, "most": LONGEST}]
        return []

    def target(self, config: Mapping[str, Any]) -> str:
        return ""

    async def execute(self, call: TaskCall) -> Ongoing:
        return Ongoing(WaitsFor.CHILD)

    async def close(self) -> None:
        """Nothing was opened."""
