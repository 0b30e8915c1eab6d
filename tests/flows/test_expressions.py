import copy
import gc
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dist_task.problems import Problems
from flows.evaluation import FUNCTIONS
from flows.expressions import (
    FAILED,
    FLOW_ROOTS,
    LONGEST_EXPRESSION,
    MOST_ITEMS,
    TOO_LONG,
    Expression,
    ExpressionFailed,
    as_condition,
    as_items,
    read,
)
from flows.filling import Values
from flows.templates import Scope

SCOPE = Scope(
    roots=FLOW_ROOTS, ids={"first", "2nd-task", "later"}, ancestors={"first", "2nd-task"}, aliases={"hold": "first"}
)
VALUES = Values(
    "txn-1",
    params={
        "user": "ann",
        "amount": 7,
        "id": 2**62 + 1,
        "none": None,
        "empty": [],
        "items": [{"sku": "a", "price": 5}, {"sku": "b", "price": 7}, {"sku": "c", "price": 9}],
    },
    outputs={"first": {"ok": True, "codes": ["A", "B"], "id": 2**62}, "2nd-task": None},
)
LARGE = Values("txn-1", params={"items": [{"n": n} for n in range(10_000)], "text": "x" * 100_000})


def read_soundly(text: str, *, scope: Scope = SCOPE) -> Expression:
    problems = Problems(root="when")
    expression = read(text, path="tasks[0].when", problems=problems, scope=scope)
    assert problems.report() == []
    return expression


def problem_of(text: Any, *, scope: Scope = SCOPE) -> str:
    problems = Problems(root="when")
    read(text, path="tasks[0].when", problems=problems, scope=scope)
    (problem,) = problems.report()
    assert problem.path == "tasks[0].when"
    return problem.message


def evaluated(text: str, values: Values = VALUES) -> Any:
    return read_soundly(text).evaluate(values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("params.amount > 5 and tasks.first.output.ok", True),
        ("tasks.first.output.ok = true", True),
        ('"A" in tasks.first.output.codes', True),
        ("tasks.`2nd-task`.output.x", None),
        ("tasks.hold.output.codes", ["A", "B"]),
        ("instance_id", "txn-1"),
        ("params.nobody", None),
        ("params.none", None),
        ("params.none = null", True),
        ("$exists(params.nobody)", False),
        ("params.items[price > 5].sku", ["b", "c"]),
        ("params.items[price > 7]", {"sku": "c", "price": 9}),
        ("params.items[price > 9]", None),
        ("params.items^(>price)[0].sku", "c"),
        ("params.items[sku in $$.params.items.sku].price", [5, 7, 9]),
        ("$sum(params.items.price)", 21),
        ("params.items.{'id': sku}", [{"id": "a"}, {"id": "b"}, {"id": "c"}]),
        ("$map(params.items, function($item) { $item.price * 2 })", [10, 14, 18]),
        ("($double := function($n) { $n * 2 }; $double(params.amount))", 14),
        ("params.user ~> $uppercase", "ANN"),
        ("[1..3]", [1, 2, 3]),
        ("[]", []),
        ("params.id = tasks.first.output.id", False),
        ("params.id - tasks.first.output.id", 1),
        ("5.5 % 2", 1.5),
        ("0.1 + 0.2 > 0.3", True),
        ("params.nobody ? 1 : 2", 2),
        ("params.nobody ?? 'x'", "x"),
        ("/* why */ 1", 1),
    ],
)
def test_an_expression_gives_plain_json(text: str, expected: Any) -> None:
    found = evaluated(text)

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("params.amount > 1", set()),
        ("tasks.first.output.ok", {"first"}),
        ("tasks.first", {"first"}),
        ("tasks.hold.output.ok", {"first"}),
        ("tasks.`2nd-task`.output and $$.tasks.first.output.ok", {"first", "2nd-task"}),
        ("$.tasks.first.output", {"first"}),
        ("params.items[id = $$.tasks.first.output.id]", {"first"}),
        ("$map(params.items, function($i) { tasks.first.output })", {"first"}),
        ("params.tasks.later", set()),
        ("tasks.first.output.tasks.later", {"first"}),
        ("tasks", None),
        ("tasks.*", None),
        ("tasks[1].output", None),
        ("$lookup(tasks, params.user)", None),
        ("($t := tasks; $t.first)", None),
        ("$string($$)", None),
        ("$keys($)", None),
        ("*", None),
        ("**.codes", None),
        ("$$.*", None),
        ("params.*.**", set()),
        ("params.items.$", set()),
    ],
)
def test_what_an_expression_needs_is_found(text: str, needs: set[str] | None) -> None:
    assert read_soundly(text).needs == needs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (3, "must be a string"),
        ("", "is empty"),
        (" \n", "is empty"),
        ("x" * (LONGEST_EXPRESSION + 1), "at most 2000 characters"),
        ("params.amount >", "is not an expression"),
        ("params.amount ) 1", "Syntax error: ) (at character"),
        ("'open", "matching quote"),
        ("/* open", "is not an expression"),
        ("(" * 1_000, "nested too deeply"),
        ("+".join(["1"] * 200), "nested too deeply"),
        ("?:".join(["1"] * 10), "at most 8 times"),
        ("param.amount > 1", "there is no param here; known are: instance_id, params, tasks"),
        ("$$.item", "there is no item here"),
        ("$map(params.items, function($i) { sku })", "there is no sku here"),
        ("count(params.items)", "there is no count here"),
        ("tasks.nobody.output", "there is no task nobody"),
        ("tasks.later.output", "does not depend on later"),
        ("params.items[id = $$.tasks.later.output.id]", "does not depend on later"),
        ("tasks.first.ok", "tasks.first has no ok, only output"),
        ("$amount > 1", "no function or variable $amount"),
        ("$eval('1')", "no function or variable $eval"),
        ("$now()", "no function or variable $now"),
        ("$millis()", "no function or variable $millis"),
        ("$random()", "no function or variable $random"),
        ("$shuffle(params.items)", "no function or variable $shuffle"),
        ("$contains(params.user, /a+/)", "regular expressions"),
        ("params.items@$i.price", "are not supported"),
        ("params.items#$i.price", "are not supported"),
        ("params.items.(%.user)", "are not supported"),
        ("params ~> |items|{'x': 1}|", "are not supported"),
        ("$substring(?, 1)", "are not supported"),
        ("function($x)<x+x+x+:n>{1}(1)", "signatures"),
    ],
)
def test_what_is_wrong_is_said_when_the_flow_is_posted(text: Any, words: str) -> None:
    assert words in problem_of(text)


def test_an_expression_over_a_response_has_roots_of_its_own() -> None:
    response = Scope(roots={"status", "body"})
    expression = read_soundly("status = 200 and body.code = 0", scope=response)

    assert expression.evaluate_over({"status": 200, "body": {"code": 0}}) is True
    assert expression.needs == frozenset()
    assert "there is no tasks here" in problem_of("tasks.first.output", scope=response)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 / 0", "division by zero"),
        ("params.user + 1", "must evaluate to a number"),
        ("params.user < 1", "of the same data type"),
        ("$number(params.user)", "failed"),
        ("$power(10, 400)", "failed"),
        ("$error('no stock')", "no stock"),
        ("$assert(false, 'no stock')", "no stock"),
        ("$string(1, true)", "failed"),
        ("function($x) { $x }", "failed"),
        ("params.user(1)", "non-function"),
        ("{params.amount: 1}", "failed"),
    ],
)
def test_a_failure_is_named_without_the_data(text: str, words: str) -> None:
    expression = read_soundly(text)

    with pytest.raises(ExpressionFailed) as caught:
        expression.evaluate(VALUES)

    assert caught.value.code == FAILED
    assert str(caught.value).startswith("tasks[0].when: ")
    assert words in str(caught.value)
    assert "ann" not in str(caught.value)


HOSTILE = {
    "endless tail call": "($f := function($n) { $f($n + 1) }; $f(1))",
    "deep recursion": "($f := function($n) { 1 + $f($n + 1) }; $f(1))",
    "two calls for one": "($f := function($n) { $n < 2 ? 1 : $f($n - 1) + $f($n - 2) }; $f(40))",
    "a lambda that applies itself": "($f := function($g) { $g($g) }; $f($f))",
    "closures in closures": "($f := function($g) { $f(function($x) { $g($x) }) }; $f(function($x) { $x }))",
    "a deep closure": "($f := function($g, $n) { $n = 0 ? $g(1) : $f(function($x) { 1 + $g($x) }, $n - 1) }; "
    "$f(function($x) { 1 + $x }, 5000))",
    "a huge range": "[1..10000000]",
    "ranges in ranges": "[1..1000].[1..1000].[1..1000]",
    "a huge pad": "$pad('x', 1000000000)",
    "many pads": "[1..1000].$pad('', 1000000)",
    "a text that doubles": "$reduce([1..100], function($a, $b) { $a & $a }, 'xxxxxxxx')",
    "a list that doubles": "$reduce([1..100], function($a, $b) { $append($a, $a) }, [1, 2])",
    "a list in lists": "$reduce([1..100], function($a, $b) { [[$a], [$a]] }, 1)",
    "an object that doubles": "$reduce([1..100], function($a, $b) { {'a': $a, 'b': $a} }, 1)",
    "rows that double": "$reduce([1..100], function($a, $b) { $zip([$a, 1], [$a, 1]) }, 1)",
    "doubled, compared": "($f := function() { $reduce([1..25], function($a, $b) { {'a': $a, 'b': $a} }, 1) }; "
    "$f() = $f())",
    "a long separator": "$join([1..100000] ~> $map($string), params.text)",
    "every letter replaced": "$replace(params.text, 'x', params.text)",
    "much replaced": "$replace(params.text, 'x', '$0$0$0')",
    "each with each": "$distinct(params.items)",
    "predicates in predicates": "params.items[$$.params.items[$$.params.items[n > 5]]]",
    "many numbers for each": "($r := [0..190000]; params.items[$r])",
    "one in many, for each": "params.items[n in $$.params.items.n]",
    "all of all": "params.items.($$.params.**)",
    "groups": "[1..190000]{'a': $}",
    "sorting with everything": "params.items^($sum($$.params.items.n))",
    "defaults of defaults": "((((((((0 ?: 0) ?: 0) ?: 0) ?: 0) ?: 0) ?: 0) ?: 0) ?: "
    "$reduce([1..190000], function($a, $b) { 1 + $a }))",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_expression_ends_soon_and_holds_little(text: str) -> None:
    expression = read_soundly(text, scope=SCOPE)
    gc.collect()
    begun = time.process_time()

    with pytest.raises(ExpressionFailed) as caught:
        expression.evaluate(LARGE)

    assert caught.value.code == TOO_LONG
    assert time.process_time() - begun < 5  # half a second where nothing else runs


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_expression_takes_no_more_than_some_memory(text: str) -> None:
    expression = read_soundly(text)
    tracemalloc.start()

    with pytest.raises(ExpressionFailed):
        expression.evaluate(LARGE)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 1024**2


@pytest.mark.parametrize(
    "text",
    [
        "params.items[n > 5 and n < 9000].n",
        "$count(params.items[n % 2 = 0])",
        "params.items^(>n)",
        "$sum(params.items.n)",
    ],
)
def test_ten_thousand_items_are_within_the_bounds(text: str) -> None:
    assert evaluated(text, LARGE)


def test_the_data_stay_as_they_are_and_the_result_is_apart() -> None:
    values = copy.deepcopy(VALUES)

    found = evaluated("params.items", values)
    evaluated("params.empty{'a': 1}", values)
    found[0]["sku"] = "changed"

    assert values == VALUES


def test_nothing_is_remembered_from_one_evaluation_to_the_next() -> None:
    expression = read_soundly("$exists($x) ? $x : ($x := params.user)")

    assert [expression.evaluate(VALUES), expression.evaluate(VALUES)] == ["ann", "ann"]
    assert read_soundly("($x := 1; $x)").evaluate(VALUES) == 1


def test_ten_thousand_expressions_are_read_quickly() -> None:
    begun = time.process_time()

    for number in range(10_000):
        read_soundly(f"params.amount > {number} and tasks.first.output.ok")

    assert time.process_time() - begun < 10  # 1.5 s where nothing else runs


def test_threads_evaluate_side_by_side() -> None:
    expression = read_soundly("$sum($map(params.items, function($i) { $i.price }))")

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(expression.evaluate, [VALUES] * 200))

    assert found == [21] * 200


def test_the_recursion_limit_of_the_process_is_left_alone() -> None:
    assert sys.getrecursionlimit() < 10_000


def test_functions_that_differ_from_time_to_time_are_not_there() -> None:
    assert not FUNCTIONS.keys() & {"eval", "now", "millis", "random", "shuffle", "match"}


@pytest.mark.parametrize(
    ("value", "is_true"),
    [
        (None, False),
        (False, False),
        (True, True),
        (0, False),
        (0.0, False),
        (-1, True),
        ("", False),
        ("false", True),
        ([], False),
        ([0, ""], False),
        ([[], [0, [1]]], True),
        ({}, False),
        ({"a": None}, True),
    ],
)
def test_a_condition_is_true_as_jsonata_has_it(value: Any, is_true: bool) -> None:
    assert as_condition(value) is is_true
    assert evaluated("$boolean(params.x) = true", Values("txn-1", params={"x": value})) is is_true


@pytest.mark.parametrize(
    ("value", "items"), [(None, []), ([], []), (0, [0]), ({"a": 1}, [{"a": 1}]), ([None], [None]), ([[1]], [[1]])]
)
def test_the_items_of_a_result(value: Any, items: list[Any]) -> None:
    assert as_items(value) == items


def test_a_task_has_a_limited_number_of_items() -> None:
    assert len(as_items([0] * MOST_ITEMS)) == MOST_ITEMS
    with pytest.raises(ExpressionFailed, match="10001 items; a task may have 10000") as caught:
        as_items([0] * (MOST_ITEMS + 1))

    assert caught.value.code == TOO_LONG


WORDS = [
    *("params", "tasks", "first", "output", "items", "$", "$$", "$x", ":=", ".", "..", "*", "**", "[", "]", "(", ")"),
    *("{", "}", ",", ";", ":", "?", "?:", "??", "~>", "^", "<", ">", "=", "!=", "&", "+", "-", "/", "%", "|", "@", "#"),
    *(
        "and",
        "or",
        "in",
        "true",
        "null",
        "0",
        "1",
        "2.5",
        "1e308",
        "'s'",
        '"',
        "`",
        "function($x){$x}",
        "/a/",
        " ",
        "\\",
    ),
    *(
        "$string",
        "$map",
        "$sum",
        "$sort",
        "$append",
        "$zip",
        "$join",
        "$replace",
        "$pad",
        "$count",
        "$number",
        "$spread",
    ),
]
expression_like = st.lists(st.sampled_from(WORDS), max_size=30).map("".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=10,
)


@settings(max_examples=500)
@given(expression_like | st.text())
def test_no_garbage_raises(text: str) -> None:
    read(text, path="when", problems=Problems(root="when"), scope=SCOPE)


OPERANDS = st.sampled_from(
    ["params", "params.x", "params.x.y", "params.*", "params.**", "tasks.first.output", "1", "'a'", "null", "[]", "{}"]
)
expressions = st.recursive(
    OPERANDS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "&", "=", "in", "and", "<", "%", "*", "~>"]), inner).map(" ".join),
        st.tuples(st.sampled_from(sorted(FUNCTIONS)), inner).map(lambda pair: f"${pair[0]}({pair[1]})"),
        st.tuples(st.sampled_from(sorted(FUNCTIONS)), inner, inner).map(lambda it: f"${it[0]}({it[1]}, {it[2]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]})[{pair[1]}]"),
        st.tuples(inner, inner).map(lambda pair: f"$map({pair[0]}, function($x) {{ [$x, {pair[1]}] }})"),
        st.tuples(inner, inner).map(lambda pair: f"[{pair[0]}, {pair[1]}].{{'k': {pair[1]}}}"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}){{'k': {pair[1]}}}"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]})^({pair[1]})"),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(expressions, json_values, json_values)
def test_any_small_expression_ends_with_json_or_the_one_error(text: str, params: Any, output: Any) -> None:
    values = Values("txn-1", params=params, outputs={"first": output})
    before = copy.deepcopy(values)
    expression = read(text, path="when", problems=Problems(root="when"), scope=SCOPE)

    try:
        found = expression.evaluate(values)
    except ExpressionFailed as error:
        assert error.code in (FAILED, TOO_LONG)
    else:
        assert type(found) in (dict, list, str, int, float, bool, type(None))
    assert values == before
