"""`db` tasks: insert, update, delete, upsert on a registered connection, once however often they are tried."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import ExecutionError
from dist_task.executors.base import Result, TaskCall
from dist_task.executors.connections import CONNECTIONS, Connection
from dist_task.executors.secrets import SECRETS
from dist_task.payload import capped, mask
from dist_task.problems import faults

from . import access as accesses
from . import change as changes
from . import failures
from .access import TEMPLATE, Access, access_of, shown_name
from .barrier import Entry, Once
from .change import Change, change_of
from .pool import Pool
from .session import Answer, Session


class DbExecutor:
    """Blocks: its drivers wait in threads (see `executors.threads`)."""

    kind: ClassVar[str] = "db"
    fixed_keys: ClassVar[frozenset[str]] = frozenset(
        {"connection", "operation", "table", "conflict", "returning", "expect_rows"}
    )

    examples: ClassVar[Mapping[str, Any]] = {
        "connection": "bank",
        "operation": "update",
        "table": "accounts",
        "values": {"balance": "${params.amount}"},
        "increment": {"balance": "${params.amount}"},
        "decrement": {"balance": "${params.amount}"},
        "where": {"id": "${params.account}"},
        "conflict": ["id"],
        "returning": ["balance"],
        "expect_rows": 1,
    }

    def __init__(self) -> None:
        self._pool = Pool()

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        name = config.get("connection")
        if not isinstance(name, str) or not name or TEMPLATE in name:
            sentences, access = [_("connection is required and must be the name of a registered connection")], None
        elif (connection := CONNECTIONS.get(name, kind=self.kind)) is None:
            sentences, access = [_("no db connection named %(name)s is registered") % {"name": shown_name(name)}], None
        else:
            sentences, access = [], _access_when_posted(connection)
        return faults("connection", sentences) + changes.problems_of(config, parameters=None, access=access)

    def check_connection(self, config: Mapping[str, Any]) -> list[str]:
        """One sentence per problem of a connection of this kind."""
        return accesses.problems_of(config)

    def target(self, config: Mapping[str, Any]) -> str:
        return str(config["connection"])

    def execute(self, call: TaskCall) -> Result:
        ends_at = time.monotonic() + call.timeout_seconds
        request = capped(mask({**call.config, "parameters": call.input}), limit=conf.MAX_LOG_BYTES)
        try:
            access = _access(CONNECTIONS.find(call.config["connection"], kind=self.kind))
            change = _change(call, access=access)
            once = self._once(change, call=call, access=access, ends_at=ends_at)
        except ExecutionError as error:
            error.request = request
            raise
        response = {"output": capped(mask(once.output), limit=conf.MAX_LOG_BYTES), "passage": once.passage}
        return Result(once.output, request=request, response=response)

    def close(self) -> None:
        self._pool.close()

    def _once(self, change: Change, *, call: TaskCall, access: Access, ends_at: float) -> Once:
        try:
            return self._transaction(change, call=call, access=access, ends_at=ends_at)
        except ExecutionError as error:
            if error.code != failures.NO_BARRIER_TABLE or not access.create_barrier:
                raise
        with self._pool.transaction(access, ends_at=ends_at) as session:
            session.create_barrier()
            session.commit()
        return self._transaction(change, call=call, access=access, ends_at=ends_at)

    def _transaction(self, change: Change, *, call: TaskCall, access: Access, ends_at: float) -> Once:
        with self._pool.transaction(access, ends_at=ends_at) as session:
            once = Entry.of(call).once(session, lambda: _effect(change, session=session, access=access))
            session.commit()
        return once


def _effect(change: Change, *, session: Session, access: Access) -> Answer:
    """Raises ExecutionError where it touched other than it should, for the transaction to be rolled back."""
    answer = session.apply(change)
    if answer.rows > access.max_rows:
        raise failures.too_many_rows(answer.rows, most=access.max_rows)
    if change.expect_rows is not None and answer.rows != change.expect_rows:
        raise failures.unexpected_rows(answer.rows, expected=change.expect_rows)
    return answer


def _access(connection: Connection) -> Access:
    settings = connection.settings()
    if problems := accesses.problems_of(settings, is_filled=True):
        raise failures.unsound_connection(connection.name, problems)
    return access_of(connection.name, settings, is_filled=True)


def _access_when_posted(connection: Connection) -> Access | None:
    """None where the connection is not sound: whoever registered it is told, the flow's author need not be."""
    if accesses.problems_of(connection.config):
        return None
    return access_of(connection.name, connection.config)


def _change(call: TaskCall, *, access: Access) -> Change:
    """With the secrets that its author names, which the log does not show."""
    config, parameters = SECRETS.fill(call.config), call.filled_input
    if problems := changes.problems_of(config, parameters=parameters, access=access):
        raise failures.refused(problems)
    return change_of(config, parameters=parameters)
