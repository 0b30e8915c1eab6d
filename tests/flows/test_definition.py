import json
from typing import Any

import pytest

from flows.definition import MOST_TASKS, FlowDefinition, InvalidDefinition, to_text
from flows.fields import Field
from flows.registry import RegisteredTask
from flows.retry import RetryPolicy


def check_http(config: Any) -> list[str]:
    return [] if "url" in config else ["url is required"]


KINDS = {"http": check_http, "noop": lambda config: [], "rpc": lambda config: []}
DEDUCT = RegisteredTask(
    name="deduct",
    type="rpc",
    description="扣款",
    config={"service": "payment", "method": "Deduct"},
    inputs=(Field("user_id", "string", required=True),),
)
REGISTRY = {"deduct": DEDUCT, "notify": RegisteredTask("notify", "mq", config={"topic": "done"})}


def parse(definition: Any) -> FlowDefinition:
    return FlowDefinition.parse(definition, registry=REGISTRY, kinds=KINDS)


def problems_of(definition: Any) -> dict[str, str]:
    with pytest.raises(InvalidDefinition) as caught:
        parse(definition)
    return {problem.path: problem.message for problem in caught.value.problems}


def one_task(**keys: Any) -> dict[str, Any]:
    return {"tasks": [{"id": "a", "type": "noop", **keys}]}


def task(task_id: str, *depends_on: str) -> dict[str, Any]:
    return {"id": task_id, "type": "noop", "depends_on": list(depends_on)}


def test_a_flow_without_tasks_is_fine() -> None:
    flow = parse('{"name":"payment_flow","tasks":[]}')

    assert (flow.name, dict(flow.tasks), flow.order, flow.roots) == ("payment_flow", {}, (), ())


def test_the_graph_is_known_both_ways() -> None:
    flow = parse({"tasks": [task("c", "a", "b"), task("a"), task("b", "a")]})

    assert list(flow.tasks) == ["c", "a", "b"]
    assert flow.roots == ("a",)
    assert flow.dependents == {"c": (), "a": ("c", "b"), "b": ("c",)}
    assert flow.order == ("a", "b", "c")


def test_a_task_has_the_documented_defaults() -> None:
    spec = parse({"tasks": [{"id": "a", "type": "noop"}]}).tasks["a"]

    assert (spec.name, spec.task_name, spec.timeout_seconds, spec.optional) == ("a", "", 30, False)
    assert (spec.depends_on, spec.config, spec.inputs, spec.retry) == ((), {}, (), RetryPolicy())


def test_the_registry_gives_type_inputs_and_default_config_key_by_key() -> None:
    spec = parse({"tasks": [{"id": "a", "task_name": "deduct", "config": {"method": "Take"}}]}).tasks["a"]

    assert spec.type == "rpc"
    assert spec.config == {"service": "payment", "method": "Take"}
    assert spec.inputs == DEDUCT.inputs


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({"name": "one", "description": "two", "task_name": "deduct"}, "one"),
        ({"description": "two", "task_name": "deduct"}, "two"),
        ({"task_name": "deduct"}, "扣款"),
        ({"type": "noop", "task_name": "elsewhere"}, "a"),
        ({"type": "noop"}, "a"),
    ],
)
def test_the_name_for_people_is_the_most_particular_one(keys: dict[str, Any], name: str) -> None:
    assert parse({"tasks": [{"id": "a", **keys}]}).tasks["a"].name == name


@pytest.mark.parametrize(
    ("config", "kind"),
    [({"url": "http://x"}, "http"), ({"service": "s", "method": "m"}, "rpc")],
)
def test_the_type_follows_from_the_config(config: dict[str, Any], kind: str) -> None:
    assert parse({"tasks": [{"id": "a", "task_name": "new", "config": config}]}).tasks["a"].type == kind


@pytest.mark.parametrize(
    ("keys", "path", "words"),
    [
        (
            {"type": "mq"},
            "tasks[0].type",
            "'mq' is not available in this version; available: http, noop, rpc",
        ),
        ({"type": 3}, "tasks[0].type", "must be a string"),
        ({"task_name": "deduct"}, "tasks[0].type", "is of type rpc"),
        ({"surprise": 1}, "tasks[0].surprise", "unknown key"),
        ({"when": True}, "tasks[0].when", "must be a string"),
        ({"when": "params.x ="}, "tasks[0].when", "is not an expression"),
        ({"when": "tasks.b.output.x = 1"}, "tasks[0].when", "there is no task b"),
        ({"when": "$eval('1')"}, "tasks[0].when", "there is no function or variable $eval"),
        ({"foreach": ["a"]}, "tasks[0].foreach", "must be a string"),
        ({"foreach": "params.["}, "tasks[0].foreach", "is not an expression"),
        ({"foreach": "item"}, "tasks[0].foreach", "item"),
        ({"foreach": "params.items", "max_parallel": 0}, "tasks[0].max_parallel", "a whole number from 1 to 10000"),
        ({"foreach": "params.items", "max_parallel": 2.5}, "tasks[0].max_parallel", "a whole number"),
        ({"max_parallel": 2}, "tasks[0].max_parallel", "for the items of a foreach"),
        ({"input": {"a": "${item.x}"}}, "tasks[0].input.a", "is not known here"),
        ({"compensate": {"input": {"a": "${index}"}}}, "tasks[0].compensate.input.a", "is not known here"),
        ({"input": []}, "tasks[0].input", "must be an object"),
        ({"input": {"a": "${tasks.b.output.x}"}}, "tasks[0].input.a", "there is no task b"),
        ({"input": {"a": "${input.x}"}}, "tasks[0].input.a", "is not known here"),
        ({"input": {"a": "${output.x}"}}, "tasks[0].input.a", "is not known here"),
        ({"input": {}, "input_from": {}}, "tasks[0].input_from", "only one of them"),
        ({"input_from": {"a": "task_1"}}, "tasks[0].input_from.a", "must be a path such as"),
        ({"output": "a.b"}, "tasks[0].output", "must be 1 to 64"),
        ({"compensate": {"input": {"a": "${outptu.x}"}}}, "tasks[0].compensate.input.a", "there is no ${outptu.x}"),
        ({"compensate": []}, "tasks[0].compensate", "must be an object"),
        ({"compensate": None}, "tasks[0].compensate", "must be an object"),
        ({"compensate": {"depends_on": []}}, "tasks[0].compensate.depends_on", "unknown key"),
        ({"compensate": {"type": "http"}}, "tasks[0].compensate.config", "url is required"),
        ({"compensate": {"task_name": "refnd"}}, "tasks[0].compensate.task_name", "is not a registered"),
        ({"compensate": {"retry": {"strategy": "often"}}}, "tasks[0].compensate.retry.strategy", "must be one of"),
        ({"compensate": {"timeout": 0}}, "tasks[0].compensate.timeout", "0.001 to 86400"),
        ({"config": {"a": {"b": ["${parms.x}"]}}}, "tasks[0].config.a.b[0]", "there is no ${parms.x}"),
        ({"config": {"url": "http://${params.host}/"}}, "tasks[0].config.url", "path and the query of a URL only"),
        (
            {"config": {"url": "http://a/", "headers": {"${params.x}": ""}}},
            "tasks[0].config.headers.${params.x}",
            "cannot hold",
        ),
        ({"config": []}, "tasks[0].config", "must be an object"),
        ({"type": "http"}, "tasks[0].config", "url is required"),
        ({"name": "a\r\nb"}, "tasks[0].name", "not allowed"),
        ({"config": {"a\nb": 1}}, "tasks[0].config.a\ufffdb", "not allowed"),
        ({"config": {"a": "\ud800"}}, "tasks[0].config.a", "not allowed"),
        ({"config": {"a": 2**63}}, "tasks[0].config.a", "64 bits"),
        ({"config": {"a": float("nan")}}, "tasks[0].config.a", "finite"),
        ({"timeout": 0}, "tasks[0].timeout", "0.001 to 86400"),
        ({"total_timeout": 0}, "tasks[0].total_timeout", "must be a number"),
        ({"total_timeout": None}, "tasks[0].total_timeout", "must be a number"),
        ({"timeout": 86400.1}, "tasks[0].timeout", "0.001 to 86400"),
        ({"timeout": True}, "tasks[0].timeout", "must be a number"),
        ({"timeout": None}, "tasks[0].timeout", "must be a number"),
        ({"optional": 1}, "tasks[0].optional", "true or false"),
        ({"depends_on": "b"}, "tasks[0].depends_on", "must be a list"),
        ({"depends_on": [{}]}, "tasks[0].depends_on[0]", "must be the id"),
        ({"depends_on": ["b"]}, "tasks[0].depends_on[0]", "there is no task b"),
        ({"depends_on": ["a"]}, "tasks[0].depends_on[0]", "cannot depend on itself"),
        ({"retry": {"interval": -1}}, "tasks[0].retry.interval", "must be a number"),
        ({"retry": []}, "tasks[0].retry", "must be an object"),
        ({"id": ""}, "tasks[0].id", "1 to 64"),
        ({"id": "a.b"}, "tasks[0].id", "1 to 64"),
        ({"id": "a" * 65}, "tasks[0].id", "1 to 64"),
        ({"id": "a\n"}, "tasks[0].id", "1 to 64"),
        ({"id": 7}, "tasks[0].id", "1 to 64"),
        ({"id": None}, "tasks[0].id", "is required"),
    ],
)
def test_what_is_wrong_with_a_task_is_told_with_its_path(keys: dict[str, Any], path: str, words: str) -> None:
    definition = one_task(**keys)

    with pytest.raises(InvalidDefinition) as caught:
        parse(definition)

    assert any(p.path == path and words in p.message for p in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    ("definition", "path", "words"),
    [
        ("", "definition", "line 1, column 1"),
        ('{"tasks":\n [}', "definition", "line 2, column 3"),
        ("[]", "definition", "must be a JSON object"),
        ('"x"', "definition", "must be a JSON object"),
        ("null", "definition", "must be a JSON object"),
        (b"\xff", "definition", "UTF-8"),
        ("[" * 100_000, "definition", "nested too deeply"),
        ('{"tasks":[' + "[" * 60 + "]" * 60 + "]}", "tasks[0]" + "[0]" * 48, "deeper than 50"),
        ('{"tasks":[],"tasks":[]}', "tasks", "more than once"),
        ('{"tasks":[{"id":"a","type":"noop","id":"b"}]}', "tasks[0].id", "more than once"),
        ('{"tasks":[],"timeout":NaN}', "timeout", "finite"),
        ('{"tasks":[],"x":1e400}', "x", "finite"),
        ('{"tasks":[],"x":' + "9" * 5000 + "}", "x", "64 bits"),
        ("{}", "tasks", "is required"),
        ('{"tasks":{}}', "tasks", "must be a list"),
        ('{"tasks":[1]}', "tasks[0]", "must be an object"),
        ('{"tasks":[],"name":1}', "name", "must be a string"),
        ('{"tasks":[],"name":"a\\u0000"}', "name", "not allowed"),
        ('{"tasks":[],"on_failure":"shrug"}', "on_failure", "must be one of: wait, compensate"),
        ('{"tasks":[],"on_failure":null}', "on_failure", "must be one of: wait, compensate"),
        ('{"tasks":[],"params_schema":[]}', "params_schema", "must be an object"),
        ('{"tasks":[],"timeout":0}', "timeout", "must be a number from 0.001 to"),
        ('{"tasks":[],"timeout":"60"}', "timeout", "must be a number"),
        ('{"tasks":[],"timeout":null}', "timeout", "must be a number"),
        ('{"tasks":[],"other":{}}', "other", "unknown key"),
    ],
)
def test_what_is_wrong_with_the_whole_is_told_with_its_path(definition: Any, path: str, words: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse(definition)

    assert any(p.path == path and words in p.message for p in caught.value.problems), caught.value.problems


def test_every_problem_is_reported_at_once() -> None:
    found = problems_of({"tasks": [task("a", "x"), task("a"), {"id": "b"}, {"id": "c", "type": "mq"}], "zz": 1})

    assert set(found) == {"tasks[0].depends_on[0]", "tasks[1].id", "tasks[2].type", "tasks[3].type", "zz"}
    assert found["tasks[1].id"] == "a is the id of tasks[0] too"


def test_a_cycle_is_named() -> None:
    found = problems_of({"tasks": [task("free"), task("a", "b", "free"), task("b", "a"), task("behind", "a")]})

    assert found == {"tasks": "the tasks depend on each other in a circle: a -> b -> a"}


def test_a_ring_of_ten_thousand_is_named_in_short() -> None:
    ring = [task(f"t{index}", f"t{(index - 1) % MOST_TASKS}") for index in range(MOST_TASKS)]

    found = problems_of({"tasks": ring})

    assert len(found["tasks"]) < 300


def test_more_than_a_hundred_problems_are_counted() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse({"tasks": [{"id": f"t{index}", "type": "mq"} for index in range(250)]})

    assert len(caught.value.problems) == 101
    assert caught.value.problems[-1].message == "and 150 more problems"


@pytest.mark.parametrize(
    "keys",
    [
        {"config": {"a": ["x\n"] * 150}},
        {"depends_on": [1] * 150},
        {"retry": {f"k{index}": 1 for index in range(150)}},
        {"config": {"a": ["${x}"] * 150}},
    ],
)
def test_the_count_is_right_wherever_the_problems_come_from(keys: dict[str, Any]) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse({**one_task(**keys), "zz": 1})

    assert caught.value.problems[-1].message == "and 51 more problems"


def test_unknown_keys_beyond_the_hundred_are_counted_too() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse({"tasks": [{**task(f"t{index}"), "x": 1, "y": 2} for index in range(250)]})

    assert caught.value.problems[-1].message == "and 400 more problems"


@pytest.mark.parametrize(("count", "fits"), [(MOST_TASKS, True), (MOST_TASKS + 1, False), (100_000, False)])
def test_the_number_of_tasks_is_limited(count: int, fits: bool) -> None:
    text = json.dumps({"tasks": [{"id": f"t{index}", "type": "noop"} for index in range(count)]})

    if fits:
        assert len(parse(text).tasks) == count
    else:
        assert problems_of(text) == {"tasks": f"has {count} tasks; a flow may have {MOST_TASKS}"}


def test_the_number_of_objects_is_limited() -> None:
    tasks = [{"id": f"t{index}", "type": "noop", "config": {}} for index in range(100_000)]

    assert "too many objects" in problems_of(json.dumps({"tasks": tasks}))["tasks"]


def test_outside_text_in_messages_is_short_and_printable() -> None:
    found = problems_of({"tasks": [], "x\r\n" + "y" * 1000: 1})

    assert all(len(path) < 70 and path.isprintable() for path in found)


def test_the_description_of_a_flow_may_have_lines() -> None:
    assert parse({"description": "first\nsecond", "tasks": []}).description == "first\nsecond"


def test_an_object_becomes_compact_text() -> None:
    assert to_text({"tasks": [], "name": "扣款"}) == '{"tasks":[],"name":"扣款"}'


def test_an_object_that_is_not_json_has_no_text() -> None:
    deep: Any = []
    for _level in range(100_000):
        deep = [deep]

    for bad in ({"a": float("nan")}, {"a": object()}, {"a": deep}):
        with pytest.raises(InvalidDefinition):
            to_text(bad)


def test_the_names_of_the_registry_are_known() -> None:
    flow = parse({"tasks": [task("a"), {"id": "b", "task_name": "deduct"}]})

    assert flow.task_names == {"deduct"}
