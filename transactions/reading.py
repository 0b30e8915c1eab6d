"""A transaction with its tasks, as it is answered: two statements for any number of them, and no model instances.

Clients ask for this again and again while they wait; building querysets and serializers would cost several times more.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from dist_task.database import Prepared
from dist_task.states import FINAL_TRANSACTION, Op
from flows.models import Flow
from flows.registry_rows import load

from .kin import kin_of
from .serializers import ALONE, RUN_COLUMNS, shown


class Row(NamedTuple):
    id: int
    instance_id: str
    flow_id: str
    flow_name: str
    flow_version: int
    status: str
    compensation: str
    cancelling: bool
    paused: bool
    created_by: str
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    params: str
    parent_id: int | None
    parent_task_id: str
    parent_op: str
    parent_item: int
    rerun_of: str | None
    rerun_as: str | None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL_TRANSACTION


_ROWS = Prepared(
    "transactions_named",
    types=("text[]",),
    sql="""
    SELECT t.id, t.instance_id, t.flow_id, f.name, f.version, t.status, t.compensation, t.cancelling, t.paused,
           t.created_by, t.created_at, t.started_at, t.completed_at, t.params::text, t.parent_id, t.parent_task_id,
           t.parent_op, t.parent_item,
           (SELECT o.instance_id FROM transactions_transaction o WHERE o.id = t.rerun_of_id),
           (SELECT a.instance_id FROM transactions_transaction a WHERE a.rerun_of_id = t.id)
    FROM transactions_transaction t JOIN flows_flow f ON f.id = t.flow_id WHERE t.instance_id = ANY($1)
""",
)
_RUNS = Prepared(
    "runs_of_transactions",
    types=("bigint[]", "text"),
    sql=f"""
    SELECT transaction_id, {", ".join(RUN_COLUMNS)} FROM dist_task_taskrun
    WHERE transaction_id = ANY($1) AND op = $2 AND item = -1
""",  # noqa: S608  # names of columns
)


def read(instance_ids: Collection[str]) -> list[Row]:
    """Those that there are, in no order."""
    with connection.cursor() as cursor:
        _ROWS.execute(cursor, [list(instance_ids)])
        return [Row(*row) for row in cursor.fetchall()]


def shown_in_full(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """With their tasks, in the same order."""
    runs: dict[int, list[dict[str, Any]]] = {row.id: [] for row in rows}
    with connection.cursor() as cursor:
        _RUNS.execute(cursor, [list(runs), Op.ACTION.value])
        for transaction_id, *run in cursor.fetchall():
            runs[transaction_id].append(dict(zip(RUN_COLUMNS, run, strict=True)))
    definitions = {flow_id: load(Flow(pk=flow_id)) for flow_id in {row.flow_id for row in rows}}
    kin = kin_of(rows, definitions=definitions)
    return [
        shown(
            row,
            params=json.loads(row.params),
            definition=definitions[row.flow_id],
            runs=runs[row.id],
            kin=kin.get(row.id, ALONE),
        )
        for row in rows
    ]
