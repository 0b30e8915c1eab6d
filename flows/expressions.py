"""JSONata in `when`, `foreach` and `ok_when`: checked when a flow is posted, evaluated within bounds. Pure.

Of the language everything is there but what `evaluation` cannot bound, or what is not the same every time. Names that
lead nowhere are refused when the flow is posted: JSONata would take a misspelt one for a value that is missing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from dist_task.errors import DistTaskError
from dist_task.problems import Problems, shown
from flows.evaluation import FAULTS, FUNCTIONS, MOST_DEPTH, MOST_STEPS, Evaluation, TooLong, Tree, parse, reason_of
from flows.filling import Values
from flows.templates import Scope

LONGEST_EXPRESSION = 2_000
MOST_ITEMS = 10_000
MOST_DEFAULTS = 8  # of ?: and ??, of which each doubles the tree before it
FAILED = "EXPRESSION_FAILED"
TOO_LONG = "EXPRESSION_TOO_LONG"
FLOW_ROOTS = frozenset(("params", "tasks", "instance_id"))
_PARSED = 1_000  # trees that are kept; each has 12 kB and more
_COMMON = frozenset(
    ("path", "binary", "unary", "name", "string", "number", "value", "wildcard", "descendant", "condition", "block")
)
_KINDS = _COMMON | {"bind", "function", "variable", "lambda", "apply", "sort", "filter"}
_CONTEXT = ("", "$")  # `$` and `$$`


class ExpressionFailed(DistTaskError):
    """An expression has no result for these data, and never will have. `code` is FAILED or TOO_LONG."""

    def __init__(self, message: str, *, code: str = FAILED) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Expression:
    """`needs` are the ids of the tasks whose outputs it refers to; None: it may refer to any of its ancestors."""

    text: str
    path: str
    needs: frozenset[str] | None = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)  # names under which it refers to tasks, other than ids

    def evaluate(self, values: Values) -> Any:
        """Plain JSON, null where there is no result; ExpressionFailed. See `evaluate_over`."""
        return self.evaluate_over(document_of(values, aliases=self.aliases))

    def evaluate_over(self, document: Mapping[str, Any], *, steps: int = MOST_STEPS) -> Any:
        """The same for a document of its own. It is not changed, and the result shares nothing with it.

        The time is bounded by steps (a second at worst, 20 to 100 microseconds as a rule).
        """
        try:
            return Evaluation(_parsed(self.text), steps=steps).run(document)
        except (TooLong, RecursionError):
            message = gettext("%(path)s: the expression takes too long, nests too deeply or makes too much of the data")
            raise ExpressionFailed(message % {"path": self.path}, code=TOO_LONG) from None
        except FAULTS as error:
            message = gettext("%(path)s: the expression failed: %(reason)s")
            raise ExpressionFailed(
                message % {"path": self.path, "reason": shown(reason_of(error), length=300)}
            ) from None


def document_of(values: Values, *, aliases: Mapping[str, str]) -> dict[str, Any]:
    """What an expression sees: `params`, `instance_id`, and `tasks.ID.output`."""
    tasks = {task: {"output": output} for task, output in values.outputs.items()}
    tasks.update({alias: tasks[task] for alias, task in aliases.items() if task in tasks})
    return {"params": values.params, "tasks": tasks, "instance_id": values.instance_id}


def as_condition(value: Any) -> bool:
    """What JSONata's `$boolean` says of a result: 0, "", [], {}, null and nothing are false, as are lists of such."""
    if isinstance(value, list):
        return any(as_condition(item) for item in value)
    return bool(value)


def as_items(value: Any) -> list[Any]:
    """The items of a `foreach`. JSONata makes no difference between one and a list of one; nothing is no item."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    if len(items) > MOST_ITEMS:
        message = gettext("the expression gives %(count)d items; a task may have %(most)d")
        raise ExpressionFailed(message % {"count": len(items), "most": MOST_ITEMS}, code=TOO_LONG)
    return items


# -- reading --


def read(text: Any, *, path: str, problems: Problems, scope: Scope) -> Expression:
    """The expression; what is wrong with it is reported at `path`. Its roots are those of the scope."""
    checked = Expression(text if isinstance(text, str) else "", path)
    if fault := _text_fault(text):
        problems.add(path, fault, longest=LONGEST_EXPRESSION, most=MOST_DEFAULTS)
        return checked
    try:
        tree = _parsed(text)
    except RecursionError:
        problems.add(path, _("is nested too deeply"))
        return checked
    except FAULTS as error:
        message = _("is not an expression: %(reason)s (at character %(position)s)")
        position = max(getattr(error, "location", len(text)), 0)
        problems.add(path, message, reason=shown(reason_of(error), length=200), position=position)
        return checked
    reading = _Reading(path, problems, scope)
    reading.look_at(tree, at_root=True, depth=1)
    reading.report_unbound()
    needs = None if reading.needs_all else frozenset(reading.needs)
    return Expression(text, path, needs, scope.aliases if reading.needs_all else reading.aliases)


def _text_fault(text: Any) -> str:
    if not isinstance(text, str):
        return _("must be a string")
    if len(text) > LONGEST_EXPRESSION:
        return _("must have at most %(longest)d characters")
    if text.count("?:") + text.count("??") > MOST_DEFAULTS:
        return _("may have ?: and ?? at most %(most)d times")
    return "" if text.strip() else _("is empty")


@lru_cache(maxsize=_PARSED)
def _parsed(text: str) -> Tree:
    return parse(text)


class _Reading:
    """Looks at every node of a tree once. Recursive, but no deeper than MOST_DEPTH."""

    def __init__(self, path: str, problems: Problems, scope: Scope) -> None:
        self.path = path
        self.problems = problems
        self.scope = scope
        self.needs: set[str] = set()
        self.needs_all = False
        self.aliases: dict[str, str] = {}
        self.bound: set[str] = set()
        self.variables: dict[str, int] = {}  # each with its first position
        self.is_refused = False

    def refuse(self, node: Any, message: str, /, *, hint: str = "", **parameters: Any) -> None:
        if not self.is_refused:  # one problem of an expression is enough
            self.is_refused = True
            position = getattr(node, "position", 0)
            self.problems.add(self.path, message, hint=hint, position=position, **parameters)

    def look_at(self, node: Any, *, at_root: bool, depth: int) -> None:
        """`at_root`: whether names in it are members of the document."""
        if self.is_refused or node is None:
            return
        if depth > MOST_DEPTH:
            return self.refuse(node, _("is nested too deeply"))
        if fault := _fault(node):
            return self.refuse(node, fault)
        self._note_names(node, at_root=at_root)
        if node.type == "path":
            self._look_at_path(node, at_root=at_root, depth=depth)
        for child in _children(node):
            self.look_at(child, at_root=at_root, depth=depth + 1)
        for child in _children_of_members(node):
            self.look_at(child, at_root=False, depth=depth + 1)

    def _note_names(self, node: Any, *, at_root: bool) -> None:
        if node.type == "bind":
            self.bound.add(str(node.lhs.value))
        elif node.type == "lambda":
            self.bound.update(str(argument.value) for argument in node.arguments)
        elif node.type == "variable" and node.value not in _CONTEXT:
            self.variables.setdefault(str(node.value), node.position)
        elif node.value == "$" or at_root:
            # The whole document: `$$`, and at its root `$`, `*` and `**`.
            self.needs_all |= node.type in ("variable", "wildcard", "descendant") and "tasks" in self.scope.roots

    def _look_at_path(self, node: Any, *, at_root: bool, depth: int) -> None:
        first, *others = node.steps
        is_context = first.type == "variable" and (first.value == "$" or (first.value == "" and at_root))
        if is_context and others and others[0].type == "name" and not _has_predicates(first):
            first, *others = others
            self._look_at_root(first, others)
        elif first.type == "name" and at_root:
            self._look_at_root(first, others)
        self.look_at(first, at_root=at_root and first.type != "name", depth=depth + 1)
        for step in others:
            self.look_at(step, at_root=False, depth=depth + 1)

    def _look_at_root(self, name: Any, steps: list[Any]) -> None:
        if name.value not in self.scope.roots:
            message = _("there is no %(name)s here; known are: %(roots)s (at character %(position)d)")
            roots = ", ".join(sorted(self.scope.roots))
            return self.refuse(name, message, name=shown(name.value), roots=roots)
        if name.value == "tasks":
            self._look_at_task(name, steps)

    def _look_at_task(self, name: Any, steps: list[Any]) -> None:
        if not steps or steps[0].type != "name" or _has_predicates(name):
            self.needs_all = True
            return
        task = str(steps[0].value)
        task_id = task if task in self.scope.ids else self.scope.aliases.get(task, task)
        if task_id not in self.scope.ids:
            self.refuse(steps[0], _("there is no task %(id)s (at character %(position)d)"), id=shown(task))
        elif task_id not in self.scope.ancestors:
            message = _("this task does not depend on %(id)s, whose output may not be there yet")
            self.refuse(steps[0], message, hint=_('add "%(id)s" to depends_on'), id=shown(task))
        elif len(steps) > 1 and steps[1].type == "name" and steps[1].value != "output":
            message = _("tasks.%(id)s has no %(name)s, only output (at character %(position)d)")
            self.refuse(steps[1], message, id=shown(task), name=shown(steps[1].value))
        else:
            self.needs.add(task_id)
            if task != task_id:
                self.aliases[task] = task_id

    def report_unbound(self) -> None:
        for name, position in self.variables.items():
            if name not in self.bound and name not in FUNCTIONS and not self.is_refused:
                self.is_refused = True
                message = _("there is no function or variable $%(name)s here (at character %(position)d)")
                self.problems.add(self.path, message, name=shown(name), position=position)


def _fault(node: Any) -> str:
    """What is not allowed about the node itself."""
    if node.type == "lambda" and node.signature is not None:
        return _("signatures of functions are not supported (at character %(position)d)")
    if node.type not in _KINDS or node.focus is not None or node.index is not None:
        return _("regular expressions, %%, @, #, | | and ? arguments are not supported (at character %(position)d)")
    return ""


def _has_predicates(node: Any) -> bool:
    return bool(node.predicate or node.stages or node.group or node.focus or node.index)


def _children(node: Any) -> Iterator[Any]:
    """The nodes that are evaluated in the context of this one."""
    yield from (node.rhs, node.expression, node.procedure, node.body, node.condition, node.then, node._else)
    if node.type != "bind":
        yield node.lhs
    yield from node.expressions or ()
    if node.type == "function":
        yield from node.arguments or ()
    if node.type == "unary":
        yield from _flat(node.lhs_object)


def _children_of_members(node: Any) -> Iterator[Any]:
    """The nodes that are evaluated for each item of what this one gives."""
    yield from (step.expr for step in (*(node.predicate or ()), *(node.stages or ())) if step.type == "filter")
    yield from (step for step in node.stages or () if step.type != "filter")
    yield from (term.expression for term in node.terms or ())
    if node.group is not None:
        yield from _flat(node.group.lhs_object)


def _flat(pairs: Iterable[Iterable[Any]] | None) -> Iterator[Any]:
    return (node for pair in pairs or () for node in pair)
