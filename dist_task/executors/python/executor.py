"""`python` tasks: functions of the deployment, in processes that are killed at the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import ExecutionError
from dist_task.executors import threads
from dist_task.executors.apart import Apart, ProcessDied
from dist_task.executors.base import Ongoing, Result, TaskCall
from dist_task.executors.checks import unknown_keys
from dist_task.executors.failures import no_answer_in_time
from dist_task.functions import Function
from dist_task.problems import Fault, Meant

from . import inside
from .arguments import block_problems
from .catalogue import CATALOGUE

KEYS = frozenset({"function"})
PREFIX = "python/"
IDLE_SECONDS = 600.0
"""So long a process waits for the next call: to start one takes most of a second, and tens of megabytes."""


class PythonExecutor:
    """Trusted as its processes are: what a function does, it does to its own. Those that run in threads or on the loop
    are trusted by who registered them so. `apart`: what makes the call in a process of its own.
    """

    kind: ClassVar[str] = "python"
    is_trusted: ClassVar[bool] = True
    fixed_keys: ClassVar[frozenset[str]] = KEYS
    examples: ClassVar[Mapping[str, Any]] = {"function": "ship_order"}
    apart: ClassVar[str] = f"{inside.Inside.__module__}:{inside.Inside.__qualname__}"

    def __init__(self) -> None:
        self.caps: dict[str, int] = {}
        self._processes: WeakKeyDictionary[asyncio.AbstractEventLoop, Apart] = WeakKeyDictionary()

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        problems = unknown_keys(config, known=KEYS)
        name = config.get("function")
        if not isinstance(name, str) or not name:
            sentence = _("function is required: the name that a function is registered under")
            return [*problems, Fault(sentence, key="function")]
        if CATALOGUE.get(name) is None and "${" not in name:  # templates are refused in any case
            problems.append(Fault(_unknown(name), key="function"))
        return problems

    def check_input(self, config: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
        name = config.get("function")
        function = CATALOGUE.get(name) if isinstance(name, str) else None
        return block_problems(function, given) if function is not None else []

    def target(self, config: Mapping[str, Any]) -> str:
        """Asked when a flow is loaded, beside the worker's loop: time to import, and to note its cap."""
        CATALOGUE.load()
        name = config["function"]
        target = f"{PREFIX}{name}"
        if (function := CATALOGUE.get(name)) is not None:
            self.caps[target] = _most_at_once(function)
        return target

    async def execute(self, call: TaskCall) -> Result | Ongoing:
        if not CATALOGUE.is_loaded:
            await asyncio.to_thread(CATALOGUE.load)
        function = inside.function_of(call)
        if function.on_loop:
            return await _on_loop(function, call)
        if function.threads:
            return threads.as_result(await threads.threads().execute(_InThread(), call))
        return await self._in_process(call)

    async def close(self) -> None:
        """Ends the processes of this loop. The next worker of this process has a loop of its own, and starts others."""
        processes = self._processes.pop(asyncio.get_running_loop(), None)
        if processes is not None:
            await processes.close()

    def _of_this_loop(self) -> Apart:
        loop = asyncio.get_running_loop()
        if loop not in self._processes:
            self._processes[loop] = Apart(
                most=conf.PYTHON_PROCESSES,
                idle_seconds=IDLE_SECONDS,
                margin_seconds=0.0,
                most_attempts=conf.PYTHON_PROCESS_CALLS,
                prepared=(self.apart,),
            )
        return self._processes[loop]

    async def _in_process(self, call: TaskCall) -> Result | Ongoing:
        try:
            return await self._of_this_loop().execute(self.kind, call)
        except ProcessDied as error:
            raise ExecutionError(
                str(error), code="PROCESS_DIED", unknown=True, request=inside.request_of(call)
            ) from error
        except ExecutionError as error:
            error.request = error.request or inside.request_of(call)
            raise


def _most_at_once(function: Function) -> int:
    """How many calls of it may be under way: no more than there are processes, so that few wait in line."""
    room = conf.SLOTS_PER_TARGET if function.threads or function.on_loop else conf.PYTHON_PROCESSES
    return min(room, function.at_once or room)


class _InThread:
    """A thread is no request: its connections are tidied around the call."""

    def execute(self, call: TaskCall) -> Result:
        return inside.execute(call)


async def _on_loop(function: Function, call: TaskCall) -> Result:
    """It is cancelled at its deadline, which it sees when it awaits something: until then it holds the worker."""
    ends = asyncio.timeout(call.timeout_seconds)
    try:
        async with ends:
            arguments = inside.arguments_of(function, call)
            with inside.failures_of(call):
                value = await function.call(**arguments)
    except TimeoutError:
        raise no_answer_in_time(call.timeout_seconds) from None
    return inside.result_of(value, call=call)


def _unknown(name: str) -> str:
    """With what may have been meant, or what keeps functions from being known."""
    if fault := CATALOGUE.faults.get(name):
        return _("the function %(name)s cannot be used: %(reason)s") % {"name": name, "reason": fault}
    told = _("no function named %(name)s is registered") % {"name": name[:100]}
    if guess := Meant(name, list(CATALOGUE.functions())).guess():
        told = _("%(told)s; did you mean %(guess)s?") % {"told": told, "guess": guess}
    elif CATALOGUE.faults:
        reasons = "; ".join(f"{module}: {fault}" for module, fault in CATALOGUE.faults.items())
        told = _("%(told)s; not all task modules could be used: %(reasons)s") % {"told": told, "reasons": reasons}
    return told
