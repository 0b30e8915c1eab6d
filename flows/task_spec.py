"""A task as a flow's definition has it: a pure value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dist_task.executors.secrets import Place
from flows.expressions import Expression
from flows.fields import Field
from flows.retry import RetryPolicy
from flows.templates import Template

SUBFLOW = "subflow"
NO_TEMPLATE = Template({})


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A node of a flow."""

    id: str
    name: str  # the one shown to people
    task_name: str  # of the registry; "" where the task says none
    description: str
    type: str
    depends_on: tuple[str, ...]
    config: Mapping[str, Any]
    retry: RetryPolicy
    timeout_seconds: float
    total_seconds: float | None  # of all attempts, pauses and waits together
    optional: bool
    inputs: tuple[Field, ...]
    config_template: Template = NO_TEMPLATE
    input: Template | None = None  # in place of the transaction's params
    when: Expression | None = None  # where it gives false the task is skipped
    foreach: Expression | None = None  # what gives a list, for each item of which the task is run
    max_parallel: int | None = None  # of its items
    ancestors: frozenset[str] = frozenset()  # those that its expressions may look at without naming them
    secret_places: tuple[Place, ...] = ()  # of what it is given: where the definition itself names secrets
    compensate: "TaskSpec | None" = None  # what undoes it: another task of the same id, which nothing depends on

    @property
    def needs(self) -> frozenset[str]:
        """The tasks whose outputs its templates and its expressions look at."""
        needed = self.config_template.needs | (self.input.needs if self.input else frozenset())
        for expression in (self.when, self.foreach):
            if expression is not None:
                needed |= self.ancestors if expression.needs is None else expression.needs
        return needed
