import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dist_task.problems import Problems
from flows.fields import InvalidInput
from flows.filling import LONGEST_TEXT
from flows.graph import Ancestry
from flows.templates import (
    LONGEST_TEMPLATE,
    MOST_TEMPLATES,
    ROOTS,
    Scope,
    Template,
    Values,
    from_input_from,
    host_is_fixed,
    read,
    read_aliases,
    read_config,
    refuse_templates,
    report_count,
)

EVERYWHERE = Scope(
    roots=ROOTS, ids={"first", "2nd-task", "later"}, ancestors={"first", "2nd-task"}, aliases={"hold": "first"}
)
VALUES = Values(
    "txn-1",
    params={"user": "ann", "n": 7, "price": 1.5, "yes": True, "none": None, "list": [{"id": "a"}, {"id": "b"}]},
    outputs={"first": {"hold_id": "h1", "扣款": 1, "0": "zero"}, "2nd-task": None},
    input={"amount": 10},
    output="done",
    item={"sku": "x"},
    index=0,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
)
template_like = st.lists(
    st.sampled_from(["${", "$", "}", ".", "params", "tasks", "first", "output", "secrets", "index", "x", " "])
).map("".join)


def read_soundly(value: Any, **keys: Any) -> Template:
    problems = Problems(root="input")
    template = read(value, path="input", problems=problems, scope=EVERYWHERE, **keys)
    assert problems.report() == []
    return template


def filled(value: Any, values: Values = VALUES, **keys: Any) -> Any:
    return read_soundly(value, **keys).fill(values)


def problems_of(value: Any, *, scope: Scope = EVERYWHERE) -> dict[str, str]:
    problems = Problems(root="input")
    read(value, path="input", problems=problems, scope=scope)
    return {problem.path: problem.message for problem in problems.report()}


def refusals(call: Any, *arguments: Any, **keys: Any) -> dict[str, str]:
    problems = Problems(root="definition")
    call(*arguments, problems=problems, **keys)
    return {problem.path: problem.message for problem in problems.report()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${params.user}", "ann"),
        ("${params.n}", 7),
        ("${params.yes}", True),
        ("${params.none}", None),
        ("${params.list.1.id}", "b"),
        ("${params.list.0}", {"id": "a"}),
        ("${tasks.first.output.hold_id}", "h1"),
        ("${tasks.first.output.扣款}", 1),
        ("${tasks.first.output.0}", "zero"),
        ("${tasks.hold.output.hold_id}", "h1"),
        ("${tasks.2nd-task.output}", None),
        ("${input.amount}", 10),
        ("${output}", "done"),
        ("${item.sku}", "x"),
        ("${index}", 0),
        ("${instance_id}", "txn-1"),
    ],
)
def test_a_single_template_keeps_the_type_of_what_it_finds(text: str, expected: Any) -> None:
    found = filled(text)

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user ${params.user}!", "user ann!"),
        ("${params.user}${params.n}", "ann7"),
        (" ${params.n}", " 7"),
        ("${params.price}/${params.yes}/${params.none}", "1.5/true/null"),
        ("=${params.list}", '=[{"id":"a"},{"id":"b"}]'),
        ("=${tasks.first.output}", '={"hold_id":"h1","扣款":1,"0":"zero"}'),
    ],
)
def test_inside_a_longer_string_the_value_is_text(text: str, expected: str) -> None:
    assert filled(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$${params.user}", "${params.user}"),
        ("a $${b", "a ${b"),
        ("$$${x}", "$${x}"),
        ("${params.n}$${x}", "7${x}"),
        ("5 $ {x} $$", "5 $ {x} $$"),
    ],
)
def test_two_dollars_write_the_template_itself(text: str, expected: str) -> None:
    assert filled({"a": [text]}) == {"a": [expected]}


def test_templates_are_found_at_every_depth_and_keys_keep_their_order() -> None:
    template = read_soundly({"b": {"x": ["${tasks.first.output.hold_id}", 1]}, "a": 2, "c": "${secrets.KEY}"})

    assert list(template.fill(VALUES).items()) == [("b", {"x": ["h1", 1]}), ("a", 2), ("c", "${secrets.KEY}")]
    assert (template.needs, template.secrets, template.count) == ({"first"}, {"KEY"}, 2)


def test_what_is_looked_up_is_never_read_as_a_template() -> None:
    hostile = Values("txn-1", params={"user": "${secrets.KEY} ${params.user}"}, secrets={"KEY": "s3cret"})

    assert filled(["${params.user}", "=${params.user}"], hostile) == [
        "${secrets.KEY} ${params.user}",
        "=${secrets.KEY} ${params.user}",
    ]


def test_a_secret_is_written_only_where_secrets_are_given() -> None:
    header = "Bearer ${secrets.KEY}"
    with_secrets = Values("txn-1", secrets={"KEY": "s3cret"})

    assert filled(header) == header
    assert filled(header, with_secrets) == "Bearer s3cret"
    assert "s3cret" not in repr(with_secrets)


def test_a_constant_value_is_the_same_object() -> None:
    value = {"a": [1, {"b": "x"}], "c": None}
    template = read_soundly(value)

    assert template.is_constant
    assert template.fill(VALUES) is value


def test_filling_leaves_the_template_as_it_was() -> None:
    template = read_soundly({"a": "${params.n}", "b": ["${params.user}"]})

    template.fill(VALUES)["b"].append("more")

    assert template.fill(VALUES) == {"a": 7, "b": ["ann"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${}", "is empty"),
        ("${ }", "is empty"),
        ("a ${params.x", "is not closed"),
        ("${params.${params.n}}", "is not a lookup"),
        ("${params..x}", "is not a lookup"),
        ("${params.x.}", "is not a lookup"),
        ("${.params}", "is not a lookup"),
        ("${ params.x }", "is not a lookup"),
        ("${params.list[0]}", "is not a lookup"),
        ("${params.x + 1}", "is not a lookup"),
        ("${param.x}", "there is no ${param.x}"),
        ("${env.HOME}", "there is no ${env.HOME}"),
        ("${__class__}", "there is no ${__class__}"),
        ("${instance_id.x}", "has no members"),
        ("${index.0}", "has no members"),
        ("${secrets}", "must be secrets.NAME"),
        ("${secrets.A.b}", "must be secrets.NAME"),
        ("${secrets.1A}", "must be secrets.NAME"),
        ("${secrets." + "A" * 65 + "}", "must be secrets.NAME"),
        ("${tasks}", "must be tasks.ID.output"),
        ("${tasks.first}", "must be tasks.ID.output"),
        ("${tasks.first.hold_id}", "must be tasks.ID.output"),
        ("${tasks.nobody.output.x}", "there is no task nobody"),
        ("${tasks.later.output.x}", "does not depend on later"),
        ("${params." + "x" * LONGEST_TEMPLATE + "}", "more than 500 characters"),
    ],
)
def test_a_malformed_template_is_named_with_its_place(text: str, words: str) -> None:
    found = problems_of({"a": ["sound ${params.x}", text]})

    assert list(found) == ["input.a[1]"]
    assert words in found["input.a[1]"]


def test_every_malformed_template_is_reported() -> None:
    assert len(problems_of({"a": "${}", "b": {"c": "${x}"}, "${params.x}": 1})) == 3


@pytest.mark.parametrize("root", sorted(ROOTS))
def test_a_root_is_refused_where_it_is_not_known(root: str) -> None:
    scope = Scope(roots=ROOTS - {root}, ids={"first"}, ancestors={"first"})

    assert "is not known here" in problems_of(f"${{{root}.first.output}}", scope=scope)["input"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${params.nobody}", "there is no nobody in params, which is an object with: user, n, price, yes, none, list"),
        ("${params.list.2}", "there is no 2 in params.list, which is a list of 2 items"),
        ("${params.list.-1}", "there is no -1 in params.list"),
        ("${params.list.00}", "there is no 00 in params.list"),
        ("${params.list.id}", "there is no id in params.list"),
        ("${params.user.0}", "there is no 0 in params.user, which is a text"),
        ("${params.none.x}", "there is no x in params.none, which is null"),
        ("${params.yes.x}", "which is true or false"),
        ("${params.n.real}", "which is a number"),
        ("${tasks.first.output.x.y}", "there is no x in tasks.first.output, which is an object with: hold_id"),
        ("${tasks.2nd-task.output.x}", "there is no x in tasks.2nd-task.output, which is null"),
        ("text ${item.x}", "there is no x in item"),
    ],
)
def test_a_lookup_that_finds_nothing_says_where_it_stopped(text: str, words: str) -> None:
    template = read_soundly({"a": [text]})

    with pytest.raises(InvalidInput) as caught:
        template.fill(VALUES)

    assert [problem.path for problem in caught.value.problems] == ["input.a[0]"]
    assert words in str(caught.value)


def test_all_lookups_that_find_nothing_are_named_and_no_value_is() -> None:
    template = read_soundly({"a": "${params.x}", "b": "- ${params.user.y}", "c": "${params.n}"})

    with pytest.raises(InvalidInput) as caught:
        template.fill(VALUES)

    assert [problem.path for problem in caught.value.problems] == ["input.a", "input.b"]
    assert "ann" not in str(caught.value)


def test_a_task_without_an_output_and_a_secret_that_is_missing_are_named() -> None:
    template = read_soundly(["${tasks.first.output.x}", "${secrets.KEY}"])

    with pytest.raises(InvalidInput) as caught:
        template.fill(Values("txn-1", secrets={}))

    assert [problem.message for problem in caught.value.problems] == [
        "${tasks.first.output.x}: the task first has no output",
        "${secrets.KEY}: there is no such secret",
    ]


def test_the_text_that_templates_may_write_is_bounded() -> None:
    template = read_soundly(["=${params.x}"] * 100)
    large = Values("txn-1", params={"x": "x" * (LONGEST_TEXT // 10)})

    with pytest.raises(InvalidInput, match="more than 1048576 characters"):
        template.fill(large)


@pytest.mark.parametrize(
    ("url", "user", "expected"),
    [
        ("http://users/${params.user}/x", "a/../b?c#d", "http://users/a%2F..%2Fb%3Fc%23d/x"),
        ("http://users/${params.user}", "安", "http://users/%E5%AE%89"),
        ("http://users/?q=${params.user}", "a&b=c", "http://users/?q=a%26b%3Dc"),
        ("http://users/?q=${params.user}", "", "http://users/?q="),
        ("http://users/${params.user}?q=${params.user}", 7, "http://users/7?q=7"),
        ("http://users/${secrets.KEY}", "", "http://users/${secrets.KEY}"),
    ],
)
def test_a_value_stays_one_part_of_a_url(url: str, user: Any, expected: str) -> None:
    values = Values("txn-1", params={"user": user})

    assert filled({"url": url}, values, url_keys=("url",)) == {"url": expected}


@pytest.mark.parametrize("user", ["", ".", "..", None])
def test_nothing_and_dots_never_stand_in_the_path_of_a_url(user: Any) -> None:
    template = read_soundly({"url": "http://users/${params.user}/"}, url_keys=("url",))

    with pytest.raises(InvalidInput, match="cannot stand in the path"):
        template.fill(Values("txn-1", params={"user": user}))


@pytest.mark.parametrize(
    ("url", "is_fixed"),
    [
        ("http://payment/deduct", True),
        ("http://payment/users/${params.id}", True),
        ("https://payment:8080/${params.a}?b=${params.b}", True),
        ("http://payment?id=${params.id}", True),
        ("http://[::1]:80/${params.id}", True),
        ("${params.url}", False),
        ("${params.scheme}://payment/", False),
        ("http://${params.host}/", False),
        ("http://payment${params.rest}", False),
        ("http://payment.${params.zone}/x", False),
        ("http://payment:${params.port}/", False),
        ("http://user:${params.password}@payment/", False),
        ("http://payment#${params.x}", False),
        ("http:/${params.x}", False),
        ("http://\\${params.x}/", False),
        (" http://payment/${params.x}", False),
        ("http://pay\tment/${params.x}", False),
        ("//payment/${params.x}", False),
        ("/${params.x}", False),
        ("http:///${params.x}", False),
    ],
)
def test_a_template_never_says_where_a_url_leads(url: str, is_fixed: bool) -> None:
    assert host_is_fixed(url) == is_fixed


def test_a_config_has_keys_without_templates() -> None:
    config = {
        "url": "http://${params.host}/",
        "table": "${params.table}",
        "columns": {"a": ["x", "${params.x}"]},
        "query": {"q": "${params.x}"},
    }

    found = refusals(read_config, config, path="config", scope=EVERYWHERE, fixed_keys={"table", "columns", "topic"})

    assert list(found) == ["config.table", "config.columns.a[1]", "config.url"]


def test_a_refusal_names_every_place_keys_included() -> None:
    found = refusals(refuse_templates, {"a": ["${params.x}", "x"], "${x}": 1, "b": "x"}, path="config.table")

    assert list(found) == ["config.table.${x}", "config.table.a[0]"]


def test_an_alias_is_another_name_for_a_task() -> None:
    problems = Problems(root="definition")

    aliases = read_aliases([("tasks[0]", "a", "hold"), ("tasks[1]", "b", "b")], ids={"a", "b"}, problems=problems)

    assert aliases == {"hold": "a", "b": "b"}
    assert problems.report() == []


@pytest.mark.parametrize(
    ("alias", "words"),
    [("b", "is the id of another task"), ("hold", "is the output of task b too"), ("a.b", "letters"), (3, "letters")],
)
def test_an_alias_that_clashes_is_reported(alias: Any, words: str) -> None:
    outputs = [("tasks[1]", "b", "hold"), ("tasks[0]", "a", alias)]

    found = refusals(read_aliases, outputs, ids={"a", "b"})

    assert list(found) == ["tasks[0].output"]
    assert words in found["tasks[0].output"]


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("$.task_1.result", "${tasks.task_1.output.result}"),
        ("$.task_1", "${tasks.task_1.output}"),
        ("$.task_1.items[0].id", "${tasks.task_1.output.items.0.id}"),
        ("$.params.x", "${params.x}"),
        ("$.params", "${params}"),
        ("$.instance_id", "${instance_id}"),
    ],
)
def test_input_from_is_another_way_to_write_an_input(path: str, template: str) -> None:
    problems = Problems(root="input_from")

    assert from_input_from({"k": path}, path="input_from", problems=problems) == {"k": template}
    assert problems.report() == []


@pytest.mark.parametrize("path", ["", "$", "$.", "task_1.x", "$..x", "$.a[*]", "$.a[?(@.x)]", "$['a']", 3, None])
def test_an_input_from_that_is_no_path_is_reported(path: Any) -> None:
    assert list(refusals(from_input_from, {"k": path}, path="input_from")) == ["input_from.k"]


def test_what_an_input_from_names_is_checked_as_a_template() -> None:
    translated = from_input_from({"k": "$.a} ${params.x"}, path="input", problems=Problems(root="input"))

    assert list(problems_of(translated)) == ["input.k"]


def test_a_definition_has_a_limited_number_of_templates() -> None:
    templates = [Template(None, count=MOST_TEMPLATES), Template(None, count=1)]

    assert refusals(report_count, templates[:1], path="tasks") == {}
    assert "has 100001 templates" in refusals(report_count, templates, path="tasks")["tasks"]


def test_ten_thousand_tasks_are_read_quickly() -> None:
    ids = [f"task_{number}" for number in range(10_000)]
    chain = {task: tuple(ids[max(number - 1, 0) : number]) for number, task in enumerate(ids)}
    ancestry = Ancestry(chain, order=ids)
    problems = Problems(root="definition")
    begun = time.process_time()

    for number, task in enumerate(ids[1:]):
        value = {"user": "${params.user}", "hold": [f"${{tasks.task_{number // 2}.output.x}}", 1, "${instance_id}!"]}
        scope = Scope(roots=ROOTS, ids=chain, ancestors=ancestry.of(task))
        read(value, path=f"tasks[{number}].input", problems=problems, scope=scope)

    assert problems.report() == []
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("text", ["${" * 500_000, "${}" * 300_000, "$" * 1_000_000 + "{", "${" + "a." * 500_000 + "}"])
def test_reading_takes_time_in_proportion_to_the_text(text: str) -> None:
    begun = time.process_time()

    problems_of(text)

    assert time.process_time() - begun < 5


@pytest.mark.parametrize("depth", [51, 100_000])
def test_what_is_nested_too_deeply_is_reported(depth: int) -> None:
    value: Any = "${params.x}"
    for _level in range(depth):
        value = [value]

    assert [message for message in problems_of(value).values() if "nested deeper" in message]


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef"))))
def test_ancestors_are_those_that_are_reached(edges: dict[str, set[str]]) -> None:
    depends_on = {task: tuple(sorted(other for other in edges.get(task, ()) if other < task)) for task in "abcdef"}
    ancestry = Ancestry(depends_on, order="abcdef")
    reached: dict[str, set[str]] = {}
    for task in "abcdef":
        reached[task] = {*depends_on[task]}.union(*(reached[other] for other in depends_on[task]))

    assert {task: set(ancestry.of(task)) for task in "abcdef"} == reached
    assert {task: {other for other in "abcdefg" if other in ancestry.of(task)} for task in "abcdef"} == reached


def test_behind_a_cycle_every_task_is_an_ancestor() -> None:
    ancestry = Ancestry({"a": ("b",), "b": ("a",), "c": ("a",)}, order=())

    assert "c" in ancestry.of("a")
    assert "d" not in ancestry.of("a")


@given(json_values)
def test_any_value_without_templates_is_constant(value: Any) -> None:
    problems = Problems(root="input")

    template = read(value, path="input", problems=problems, scope=EVERYWHERE)

    if "${" not in repr(value):
        assert template.fill(VALUES) is value


@given(json_values)
def test_a_single_template_gives_the_very_object(value: Any) -> None:
    assert filled("${params.x}", Values("txn-1", params={"x": value})) is value


@given(
    st.recursive(template_like | st.text(), lambda children: st.lists(children) | st.dictionaries(st.text(), children))
)
def test_no_garbage_raises_and_what_is_sound_is_filled_or_refused(value: Any) -> None:
    problems = Problems(root="input")
    template = read(value, path="input", problems=problems, scope=EVERYWHERE)

    if not problems:
        try:
            template.fill(VALUES)
        except InvalidInput as error:
            assert error.problems


@given(st.lists(st.text()))
def test_doubling_the_dollar_writes_any_text(texts: list[str]) -> None:
    text = "${".join(texts)

    assert filled(text.replace("${", "$${")) == text
