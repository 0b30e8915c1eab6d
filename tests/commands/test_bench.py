from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bench.arguments import MEASURED, read_arguments
from bench.children import StandFailed
from bench.client import CallFailed, Client, post_all, request
from bench.history import check_disk
from bench.peers import NAMES
from bench.peers.compare import OURS, OURS_BATCH, ratios
from bench.peers.registry import PEERS
from bench.processes import Process, cpu_by_kind, kind_of, memory_of, tree
from bench.recovery import Call, judge
from bench.report import Spread, spread
from bench.step_server import INSTANCE, KEY, Seen, Steps, header
from bench.workloads import CALLS, TASKS, definitions

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def test_medians_and_ranges_are_taken_value_by_value():
    rounds = [{"W3": {"a": 1.0, "b": 9.0}}, {"W3": {"a": 5.0, "b": 7.0}}, {"W3": {"a": 3.0}}]

    assert spread(rounds) == {"W3": {"a": Spread(3.0, 1.0, 5.0), "b": Spread(8.0, 7.0, 9.0)}}


@pytest.mark.parametrize(
    ("head", "name", "value"),
    [
        (b"POST /step HTTP/1.1\r\nIdempotency-Key: abc", KEY, b"abc"),
        (b"POST /step HTTP/1.1\r\nidempotency-key:abc\r\nHost: x", KEY, b"abc"),
        (b"POST /step HTTP/1.1\r\nIDEMPOTENCY-KEY:abc\r\nHost: x", KEY, b"abc"),
        (b"POST /step HTTP/1.1\r\nX-Dist-Task-Instance: i-1\r\nHost: x", INSTANCE, b"i-1"),
        (b"POST /step HTTP/1.1\r\nHost: x", KEY, b""),
    ],
)
def test_headers_are_found_whatever_their_case(head, name, value):
    assert header(head, name) == value


def test_the_step_server_refuses_the_first_attempt_of_a_retried_task_only():
    steps = Steps(Seen())
    head = b"POST /retry HTTP/1.1\r\nIdempotency-Key: abc"

    assert steps.respond(head).startswith(b"HTTP/1.1 503")
    assert steps.respond(head).startswith(b"HTTP/1.1 200")
    assert len(steps.seen.late_seconds) == 1


def with_step_server(talk):
    """What `talk(port, seen)` gives, beside a step server in the same loop."""

    async def run():
        seen = Seen()
        server = await asyncio.get_running_loop().create_server(lambda: Steps(seen), "127.0.0.1", 0)
        async with server:
            return await talk(server.sockets[0].getsockname()[1], seen)

    return asyncio.run(run())


def test_each_request_is_sent_once_over_all_connections():
    async def talk(port, seen):
        await post_all([request("POST", "/step", port=port)] * 40, ports=[port], connections=7)
        return seen.calls

    assert with_step_server(talk) == 40


def test_a_client_reads_one_answer_after_the_other():
    async def talk(port, seen):
        client = Client(port=port)
        answers = [await client.call("POST", "/step", body={"a": 1}), await client.call("GET", "/counts")]
        client.close()
        return answers

    first, second = with_step_server(talk)

    assert first == {"ok": True}
    assert second["calls"] == 1


def test_an_answer_that_is_no_success_ends_the_run():
    async def talk(port, seen):
        with pytest.raises(CallFailed, match="503"):
            await post_all([request("POST", "/retry", port=port)], ports=[port], connections=1)

    with_step_server(talk)


def test_the_tree_of_processes_begins_with_its_root():
    process = subprocess.Popen(["sleep", "60"])
    try:
        found = tree(process.pid)
    finally:
        process.kill()
        process.wait()

    assert [each.pid for each in found] == [process.pid]


def test_memory_is_read_of_a_process_that_lives():
    found = memory_of(os.getpid())

    assert 0 < found.pss <= found.rss


def test_processes_are_told_apart_by_what_they_are():
    service = [
        Process(1, 0, "python", "python -m dist_task.supervisor --port 1", 0.1),
        Process(2, 1, "python", "python manage.py web --port 1", 0.2),
        Process(3, 1, "python", "python manage.py cluster", 0.3),
        Process(4, 3, "python", "python manage.py cluster", 0.4),
        Process(5, 1, "postgres", "postgres: walwriter", 0.5),
        Process(6, 1, "sh", "sh", 0.6),
    ]

    assert kind_of(service[0], drains={4}) == "supervisor"
    assert cpu_by_kind(service, drains={4}) == {
        "supervisor": 0.1, "web": 0.2, "cluster": 0.3, "drains": 0.4, "postgres": 0.5, "other": 0.6,
    }  # fmt: skip


@pytest.mark.parametrize(("flow", "tasks"), TASKS.items())
def test_a_workload_has_as_many_tasks_as_its_figures_are_made_with(flow, tasks):
    made = definitions(step_port=1)[flow]["definition"]["tasks"]

    assert len(made) == tasks
    assert sum(task["type"] == "http" for task in made) == CALLS[flow]


def test_a_kill_is_judged_by_the_calls_of_what_the_dead_worker_held():
    calls = [
        Call("a1", "a", 9.0, 9.5),  # recorded
        Call("a2", "a", 9.9, None),  # in flight when the worker died
        Call("b1", "b", 9.9, 10.4),  # another worker's
        Call("b2", "b", 10.5, 10.6),
        Call("a2", "a", 11.0, 11.1),  # made again
    ]

    found = judge(calls, killed_at=10.0, held=["a"], steps=5)

    assert found["next_call_seconds"] == pytest.approx(0.5)
    assert found["next_held_call_seconds"] == pytest.approx(1.0)
    assert (found["in_flight"], found["in_flight_held"], found["called_held"]) == (2, 1, 2)
    assert (found["repeated"], found["lost"]) == (1, 1)


def test_ratios_are_to_each_peer_and_to_the_fastest_one():
    found = ratios(
        {
            OURS: {"flows_per_second": 1000.0, "idle_p50_ms": 5.0},
            OURS_BATCH: {"flows_per_second": 2000.0},
            "peer.A": {"flows_per_second": 400.0, "idle_p50_ms": 10.0},
            "peer.B": {"flows_per_second": 100.0, "idle_p50_ms": 20.0},
        }
    )

    assert found["ratios.one by one"] == {"the fastest": 2.5, "A": 2.5, "B": 10.0}
    assert found["ratios.in batches"]["the fastest"] == 5.0
    assert found["ratios.idle p50"] == {"the fastest": 2.0}


def test_a_history_that_the_disk_cannot_hold_is_refused(tmp_path):
    with pytest.raises(StandFailed, match="1,000,000,000,000 transactions may take 5,000,003.0 GB"):
        check_disk(tmp_path, count=10**12)


def test_every_peer_has_a_driver():
    assert tuple(PEERS) == NAMES


@pytest.mark.parametrize(
    ("given", "parts", "peers"),
    [
        ([], MEASURED, ()),
        (["--only", "recovery,latency"], ("latency", "recovery"), ()),
        (["--only", "peers"], ("peers",), NAMES),
        (["--peers"], (*MEASURED, "peers"), NAMES),
        (["--only", "peers", "--peers", "celery,restate"], ("peers",), ("restate", "celery")),
        (["--history", "5_000"], (*MEASURED, "history"), ()),
        (["--against", str(REPOSITORY)], (*MEASURED, "against"), ()),
        (["--only", "against", "--against", str(REPOSITORY)], ("against",), ()),
    ],
)
def test_parts_can_be_picked(given, parts, peers):
    found = read_arguments(given, description="")

    assert (found.parts, found.peers) == (parts, peers)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--flows", "0"], "'0' is not a whole number above 0"),
        (["--runs", "-1"], "'-1' is not a whole number above 0"),
        (["--history", "many"], "'many' is not a whole number above 0"),
        (["--only", "speed"], "'speed' is not one of throughput"),
        (["--only", "history"], "needs a number of transactions"),
        (["--only", "against"], "needs another checkout"),
        (["--only", "quiet", "--against", str(REPOSITORY)], "--against is not among the parts"),
        (["--against", "/nowhere"], "'/nowhere' is no checkout"),
        (["--only", "quiet", "--history", "10"], "--history is not among the parts"),
        (["--only", "quiet", "--peers"], "--peers is not among the parts"),
        (["--peers", "nobody"], "'nobody' is not one of restate"),
        (["--bogus"], "unrecognized arguments: --bogus"),
    ],
)
def test_bad_arguments_give_a_sentence_and_exit_code_2(given, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        read_arguments(given, description="")

    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def bench(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [REPOSITORY / "script" / "bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.cluster
@pytest.mark.slow
def test_a_quick_run_measures_everything():
    process = bench("--quick", "--history", "500", "--against", str(REPOSITORY))
    said, errors = process.communicate(timeout=600)

    assert process.returncode == 0, errors
    written = Path(said.splitlines()[-1].removeprefix("written to "))
    results = json.loads(written.read_text())["medians"]
    written.unlink()
    for flow in (*TASKS, "W3batch", "W3empty", "W3full"):
        assert results[flow]["flows_per_second"] > 0
        assert results[flow]["repeated_calls"] == 0
    assert results["recovery"]["lost"] == 0
    assert results["idle"]["row_p50_ms"] < results["idle"]["waited_p99_ms"]
    assert results["memory"]["pss_mb"] > results["memory"]["pss_without_postgres_mb"] > 0
    assert results["history"]["dist_task_taskrun_rows"] >= 1500
    assert all(0.05 < ratio < 20 for ratio in results["against"].values()), "the same tree, on a busy machine"
    assert len(results["against"]) == 6


@pytest.mark.cluster
@pytest.mark.slow
def test_an_interrupted_run_leaves_no_process_behind():
    process = bench("--quick")
    while process.stderr.readline() != "  quiet\n":  # it measures now: the service runs
        assert process.poll() is None
    started = {each.pid for each in tree(process.pid)}
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)

    assert len(started) > 5
    assert process.returncode == 130, errors
    assert "ended" in errors
    deadline = time.monotonic() + 20
    while left := [pid for pid in started if Path(f"/proc/{pid}/exe").exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
