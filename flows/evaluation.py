"""Evaluates JSONata within bounds that do not depend on a clock: every piece of work costs steps. Pure.

`jsonata-python` walks the tree; what it does by itself in one go (compare, join, copy) is paid for beforehand by the
size of what it is given, so that an evaluation ends after about `MOST_STEPS` small steps and holds at most some
dozens of megabytes, however it was meant. The same data end at the same step on every machine.
"""

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

_RECURSION_LIMIT = sys.getrecursionlimit()

from jsonata.functions import Functions  # noqa: E402  # see below
from jsonata.jexception import JException as JsonataError  # noqa: E402
from jsonata.jsonata import Jsonata  # noqa: E402
from jsonata.parser import Parser  # noqa: E402
from jsonata.utils import Utils  # noqa: E402

# Importing jsonata raises the limit of the whole process to 10,000, where C code runs out of stack before Python does.
sys.setrecursionlimit(_RECURSION_LIMIT)

# What the library raises for data that it did not foresee: 1/0, a key of an odd type.
FAULTS = (JsonataError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

MOST_STEPS = 200_000  # half a second, or a whole one on a busy machine
MOST_DEPTH = 100  # of evaluations within evaluations
MOST_WEIGHT = 1_000_000  # members in all of one value; eight characters weigh as much as one
_PER_STEP = 16  # members that are looked at in the time of one step
_CHARACTERS_PER_STEP = 128
_COPIES_PER_STEP = 10_000  # references
_PAST_64_BITS = 2**63


class TooLong(JsonataError):
    """The evaluation needs more steps, memory or depth than it may have."""

    def __init__(self) -> None:
        super().__init__("D1012")


class Evaluation(Jsonata):
    """One evaluation of one tree."""

    def __init__(self, tree: Any, *, steps: int = MOST_STEPS) -> None:
        # Not the parent's: it parses.
        self.parser = Jsonata.get_parser()
        self.ast = tree
        self.steps = steps
        self.depth = 0
        self.input = None
        self.environment = _FRAME
        self._weights: dict[int, tuple[Any, int, int]] = {}

    def run(self, document: Mapping[str, Any]) -> Any:
        """Plain JSON that shares nothing with the document; None where there is no result. FAULTS for what fails."""
        frame = self.create_frame(_FRAME)
        frame.bind("$", document)
        Jsonata.CURRENT.jsonata = self
        try:
            result = self.eval(self.ast, document, frame)
            self.weigh(result)
            return _plain(result)
        finally:
            del Jsonata.CURRENT.jsonata

    def get_per_thread_instance(self) -> "Evaluation":
        return self

    def eval(self, expr: Any, input: Any, environment: Any) -> Any:
        self.charge(3 if expr.type == "lambda" else 1)
        if self.depth >= MOST_DEPTH:
            raise TooLong
        self.depth += 1
        result = self._eval(expr, input, environment)
        self.depth -= 1
        if isinstance(result, list):
            self.charge(len(result) // _PER_STEP)
        elif isinstance(result, str) and expr.type in ("binary", "function", "apply"):
            self.charge(len(result) // _CHARACTERS_PER_STEP)
        if expr.type == "unary" and isinstance(result, dict | list):
            self.weigh(result)
        return result

    def charge(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise TooLong

    def charge_size(self, value: Any) -> None:
        """For work on the members of a list or an object themselves, or on a text."""
        if isinstance(value, str):
            self.charge(len(value) // _CHARACTERS_PER_STEP)
        elif isinstance(value, dict | list):
            self.charge(len(value) // _PER_STEP)

    def charge_weight(self, value: Any, *, times: int = 1) -> None:
        """For work on all that is in it."""
        self.charge(self.weigh(value) * times // _PER_STEP)

    def weigh(self, value: Any) -> int:
        """How much is in it, with what it holds twice counted twice: so long it takes to walk through it."""
        if isinstance(value, str):
            return 1 + len(value) // 8
        if not isinstance(value, dict | list):
            return 1
        _value, length, weight = self._weights.get(id(value), (None, -1, 0))
        if length == len(value):
            return weight
        weight = 1
        for child in value.values() if isinstance(value, dict) else value:
            weight += self.weigh(child)
            if weight > MOST_WEIGHT:
                raise TooLong
        # The value is kept, so that no other gets its id.
        self._weights[id(value)] = (value, len(value), weight)
        return weight

    def create_frame(self, enclosing_environment: Any = None) -> Any:
        """With answers to what the library asks for at every node, and would climb through all frames for."""
        frame = Jsonata.Frame(enclosing_environment)
        frame.bindings = {"__evaluate_entry": None, "__evaluate_exit": None}
        return frame

    # -- what the library does in one go --

    def evaluate_wildcard(self, expr: Any, input: Any) -> Any:
        self.charge_weight(input, times=2)
        if isinstance(input, dict | list):
            members = input.values() if isinstance(input, dict) else input
            lists = sum(isinstance(member, list) for member in members)
            self.charge(lists * self.weigh(input) // _COPIES_PER_STEP)
        return super().evaluate_wildcard(expr, input)

    def evaluate_descendants(self, expr: Any, input: Any) -> Any:
        self.charge_weight(input, times=4)
        return super().evaluate_descendants(expr, input)

    def evaluate_group_expression(self, expr: Any, input: Any, environment: Any) -> Any:
        if isinstance(input, list):
            self.charge(len(input) ** 2 // _COPIES_PER_STEP)
            if not input:
                input = Utils.create_sequence(None)  # the library would write into the data
        return super().evaluate_group_expression(expr, input, environment)

    def evaluate_numeric_expression(self, lhs: Any, rhs: Any, op: Any) -> Any:
        """Whole numbers of 64 bits stay exact; the library makes floats of them."""
        if type(lhs) is int and type(rhs) is int and op in _EXACT:
            result = _EXACT[op](lhs, rhs)
            if -_PAST_64_BITS <= result < _PAST_64_BITS:
                return result
        if op == "%" and Utils.is_numeric(lhs) and Utils.is_numeric(rhs):
            return Utils.convert_number(math.fmod(lhs, rhs))
        return super().evaluate_numeric_expression(lhs, rhs, op)

    def evaluate_equality_expression(self, lhs: Any, rhs: Any, op: Any) -> bool:
        """Exact for whole numbers too: ids of 64 bits differ in their last digits."""
        if lhs is None or rhs is None:
            return False
        self.charge(min(self.weigh(lhs), self.weigh(rhs)) // _PER_STEP)
        return bool(Utils.is_deep_equal(lhs, rhs)) is (op == "=")

    def evaluate_includes_expression(self, lhs: Any, rhs: Any) -> bool:
        if lhs is None or rhs is None:
            return False
        items = rhs if isinstance(rhs, list) else [rhs]
        self.charge_weight(items)
        return any(Utils.is_deep_equal(lhs, Utils.NULL_VALUE if item is None else item) for item in items)

    def evaluate_string_concat(self, lhs: Any, rhs: Any) -> str:
        self.charge_weight(lhs)
        self.charge_weight(rhs)
        return str(super().evaluate_string_concat(lhs, rhs))

    def evaluate_range_expression(self, lhs: Any, rhs: Any) -> Any:
        if type(lhs) is int and type(rhs) is int and lhs <= rhs:
            self.charge((rhs - lhs) // _PER_STEP)
            return Utils.create_sequence_from_iter(range(lhs, rhs + 1))
        return super().evaluate_range_expression(lhs, rhs)


_EXACT: Mapping[str, Callable[[int, int], int]] = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}


def _plain(value: Any) -> Any:
    if value is None or value is Utils.NULL_VALUE:
        return None
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    raise TypeError("the result holds a function")


# -- functions --


def _pay_sizes(run: Evaluation, args: list[Any]) -> None:
    for arg in args:
        run.charge_size(arg)


def _pay_weights(run: Evaluation, args: list[Any]) -> None:
    for arg in args:
        run.charge_weight(arg, times=2)


def _pay_pad(run: Evaluation, args: list[Any]) -> None:
    _pay_sizes(run, args)
    if len(args) > 1 and isinstance(args[1], int | float):
        run.charge(int(abs(args[1])) // _CHARACTERS_PER_STEP)


def _pay_join(run: Evaluation, args: list[Any]) -> None:
    parts = args[0] if isinstance(args[0], list) else [args[0]]
    separator = len(args[1]) if len(args) > 1 and isinstance(args[1], str) else 0
    run.charge_weight(parts)
    run.charge(len(parts) * separator // _CHARACTERS_PER_STEP)


def _pay_split(run: Evaluation, args: list[Any]) -> None:
    _pay_sizes(run, args)
    if len(args) > 1 and isinstance(args[0], str) and isinstance(args[1], str):
        run.charge((args[0].count(args[1]) if args[1] else len(args[0])) // _PER_STEP)


def _pay_replace(run: Evaluation, args: list[Any]) -> None:
    """For each match the library copies the rest of the text; `$0` in the replacement stands for the match."""
    _pay_sizes(run, args)
    text, pattern, replacement = args[:3]
    if isinstance(text, str) and isinstance(pattern, str) and isinstance(replacement, str) and pattern:
        matches = text.count(pattern)
        written = len(replacement) + replacement.count("$0") * len(pattern)
        run.charge(matches // 4 + matches * len(text) // 32_768 + matches * written // _CHARACTERS_PER_STEP)


def _pay_distinct(run: Evaluation, args: list[Any]) -> None:
    """It compares each with each."""
    _pay_weights(run, args)
    if isinstance(args[0], list):
        run.charge(len(args[0]) * run.weigh(args[0]) // 256)


def _pay_spread(run: Evaluation, args: list[Any]) -> None:
    """It copies the list for each of its items."""
    _pay_weights(run, args)
    if isinstance(args[0], list):
        run.charge(len(args[0]) * run.weigh(args[0]) // (_COPIES_PER_STEP // 2))


def _pay_string(run: Evaluation, args: list[Any]) -> None:
    _pay_weights(run, args)
    _take_one(run, args)


def _take_one(_run: Evaluation, args: list[Any]) -> None:
    if any(arg is not None for arg in args[1:]):
        raise TypeError("this function takes one argument here")


_Pay = Callable[[Evaluation, list[Any]], None]

# Those whose time and memory have been looked into. Not there: what is not the same every time ($now, $millis,
# $random, $shuffle), what reads code or patterns ($eval, $match, $formatNumber, $formatInteger, $parseInteger), and
# $clone: nothing is ever changed.
FUNCTIONS: Mapping[str, _Pay] = {
    **dict.fromkeys(
        (
            *("abs", "append", "assert", "average", "base64decode", "base64encode", "ceil", "contains", "count"),
            *("decodeUrl", "decodeUrlComponent", "each", "encodeUrl", "encodeUrlComponent", "error", "exists"),
            *("filter", "floor", "formatBase", "length", "lowercase", "map", "max", "min", "number", "power", "reduce"),
            *("reverse", "round", "sift", "single", "sqrt", "substring", "substringAfter", "substringBefore", "sum"),
            *("trim", "type", "uppercase"),
        ),
        _pay_sizes,
    ),
    **dict.fromkeys(("boolean", "keys", "lookup", "merge", "not", "sort", "zip"), _pay_weights),
    "distinct": _pay_distinct,
    "fromMillis": _take_one,
    "join": _pay_join,
    "pad": _pay_pad,
    "replace": _pay_replace,
    "split": _pay_split,
    "spread": _pay_spread,
    "string": _pay_string,
    "toMillis": _take_one,
}


class _Function(Jsonata.JNativeFunction):
    """One of the library's, paid for before it is called."""

    def __init__(self, native: Jsonata.JNativeFunction, pay: _Pay) -> None:
        self.function_name = native.function_name
        self.signature = native.signature
        self.method = native.method
        self.nargs = native.nargs
        self._pay = pay

    def call(self, input: Any, args: Any) -> Any:
        run = Jsonata.CURRENT.jsonata
        run.charge(1)
        self._pay(run, args)
        result = Functions._call(self.method, self.nargs, args)
        run.charge_size(result)
        run.weigh(result)
        return result


def _frame_of_functions() -> Any:
    frame = Jsonata.Frame(None)
    for name, pay in FUNCTIONS.items():
        frame.bind(name, _Function(Jsonata.static_frame.lookup(name), pay))
    return frame


_FRAME = _frame_of_functions()


# -- parsing --


def parse(text: str) -> Any:
    """The tree of an expression. FAULTS for what is none, RecursionError for what nests too deeply.

    Patterns of regular expressions are kept as they are, for nobody to run: Python's can take for ever, and hold the
    interpreter meanwhile.
    """
    return Jsonata.get_parser().parse(text, lambda pattern, flags: pattern)


def reason_of(error: BaseException) -> str:
    """What was wrong, without the data: errors are read by more people than they."""
    if not isinstance(error, JsonataError):
        return str(error) if isinstance(error, ZeroDivisionError) else type(error).__name__
    if error.error.startswith("S") or error.error in ("D3137", "D3141"):
        return str(error)
    text = JsonataError.error_codes.get(error.error, error.error)
    return text.replace("{", "").replace("}", "")


Tree = Parser.Symbol
