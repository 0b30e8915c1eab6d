"""The flows' definitions as two relations that the rules join with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dist_task.states import Op
from flows.definition import FlowDefinition, TaskSpec
from flows.registry_rows import parse_stored
from flows.tasks import SUBFLOW

GRAPH = """
    WITH task AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(%(tasks)s::jsonb) AS task(
            flow_id text, task_id text, op text, optional boolean, strategy text, tries int, pause float8,
            has_items boolean, undoes_child boolean)
    ), edge AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(%(edges)s::jsonb) AS edge(flow_id text, task_id text, needs text)
    ), known AS MATERIALIZED (
        SELECT unnest(%(known)s::text[]) AS flow_id
    ), counted AS MATERIALIZED (
        SELECT flow_id, sum(created) AS created, sum(succeeded + failed + cancelled) AS ended,
               ARRAY[sum(created), sum(succeeded), sum(failed), sum(cancelled), sum(duration_ms)]::bigint[] AS figures
        FROM (SELECT flow_id, created, succeeded, failed, cancelled, duration_ms FROM dist_task_statrollup
              UNION ALL
              SELECT flow_id, created, succeeded, failed, cancelled, duration_ms FROM dist_task_statdelta) AS s
        GROUP BY flow_id
    ), present AS MATERIALIZED (
        SELECT flow_id, count(*) FILTER (WHERE completed_at IS NULL) AS unfinished,
               ARRAY[count(*), count(*) FILTER (WHERE status = 'success'), count(*) FILTER (WHERE status = 'failed'),
                     count(*) FILTER (WHERE status = 'cancelled'),
                     COALESCE(sum((EXTRACT(EPOCH FROM completed_at - created_at) * 1000)::bigint)
                         FILTER (WHERE status = 'success'), 0)]::bigint[] AS figures
        FROM transactions_transaction GROUP BY flow_id
    )
"""


def read_graph(cursor: Any) -> tuple[dict[str, Any], list[str]]:
    """The parameters of GRAPH, and the ids of the flows whose definition cannot be read (no rule judges those)."""
    cursor.execute("SELECT id, definition, task_definitions FROM flows_flow ORDER BY id")
    tasks: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []
    known, unreadable = [], []
    for flow_id, text, pinned in cursor.fetchall():
        try:
            definition = parse_stored(text, pinned=pinned if isinstance(pinned, dict) else json.loads(pinned))
        except Exception:
            unreadable.append(flow_id)
            continue
        known.append(flow_id)
        tasks.extend(_tasks(definition, flow_id=flow_id))
        edges.extend(_edges(definition, flow_id=flow_id))
    return {"tasks": json.dumps(tasks), "edges": json.dumps(edges), "known": known}, unreadable


def _tasks(definition: FlowDefinition, *, flow_id: str) -> Iterator[dict[str, Any]]:
    for spec in definition.tasks.values():
        yield _task(spec, flow_id=flow_id, op=Op.ACTION)
        if spec.compensate is not None:
            yield _task(spec.compensate, flow_id=flow_id, op=Op.COMPENSATE) | {"has_items": spec.foreach is not None}


def _task(spec: TaskSpec, *, flow_id: str, op: str) -> dict[str, Any]:
    policy = spec.retry
    is_steady = policy.jitter == "none" and policy.strategy == "auto"
    return {
        "flow_id": flow_id,
        "task_id": spec.id,
        "op": op,
        "optional": spec.optional,
        "strategy": policy.strategy,
        "tries": policy.tries,
        "has_items": spec.foreach is not None,
        "undoes_child": op == Op.COMPENSATE and spec.type == SUBFLOW and not spec.config,
        "pause": min(policy.interval, policy.max_interval) if is_steady else 0,
    }


def _edges(definition: FlowDefinition, *, flow_id: str) -> Iterator[dict[str, str]]:
    for task_id, spec in definition.tasks.items():
        for needed in spec.depends_on:
            yield {"flow_id": flow_id, "task_id": task_id, "needs": needed}
