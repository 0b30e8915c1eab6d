"""What the three services have in common: HTTP, a ledger in an SQLite file, and the barrier around each call.

One transaction of the ledger holds the work and the barrier's row, so that a call is done once however often it comes.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dist_task.barrier import Call, barrier, call_of, create_table

Body = Mapping[str, Any]
Work = Callable[[sqlite3.Connection, str, Body], dict[str, Any]]
"""What a path does in the ledger, with the order's id: what it gives is the output of the task."""


class Refused(Exception):
    """Refused for good: nothing is kept, and a person or a compensation has to take over."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NotYet(Exception):
    """It takes longer: nothing is kept, and the same call comes again after a while."""


class Endpoint(ThreadingHTTPServer):
    """One service on a free port of loopback. `answers_to_lose`: how many of an order's answers break on their way."""

    daemon_threads = True
    names_callers = False
    """In what is printed of a call: where several transactions are under way at once."""

    def __init__(self, name: str, *, ledger: Path, tables: str, paths: Mapping[str, Work]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.name, self.ledger, self.paths = name, ledger, paths
        self.answers_to_lose: Counter[str] = Counter()
        with closing(sqlite3.connect(ledger)) as connection:
            connection.executescript(tables)
            create_table(connection)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.ledger)) as connection:
            return connection.execute(sql).fetchall()

    def carry_out(self, path: str, *, call: Call, body: Body) -> tuple[dict[str, Any], str]:
        """The answer, and what was done for it."""
        with closing(sqlite3.connect(self.ledger)) as connection, barrier(connection, call) as turn:
            if turn.is_mine:
                turn.answer = self.paths[path](connection, call.instance_id, body)
        if turn.is_mine:
            return turn.answer, "done"
        if turn.answer is None:
            return {}, "there is nothing to undo"
        return turn.answer, "was done before: the same answer again"

    def loses_answer(self, order: str) -> bool:
        self.answers_to_lose[order] -= 1
        return self.answers_to_lose[order] >= 0


class Handler(BaseHTTPRequestHandler):
    server: Endpoint
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # noqa: N802  # the name that http.server looks for
        call = call_of(self.headers)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            answer, said = self.server.carry_out(self.path, call=call, body=body)
        except Refused as error:
            self.note(f"refused: {error}")
            return self.send(422, {"code": error.code, "message": str(error)})
        except NotYet:
            return self.send(425, {})
        if self.server.loses_answer(call.instance_id):
            self.note(f"{said}, but the answer is lost")
            self.close_connection = True
            return None
        self.note(said)
        return self.send(200, answer)

    def send(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def note(self, what: str) -> None:
        attempt = self.headers["X-Dist-Task-Attempt"]
        who = f"for {call_of(self.headers).instance_id}, " if self.server.names_callers else ""
        print(f"    {self.server.name:9}{self.path:10}{who}attempt {attempt}: {what}")

    def log_message(self, format: str, *args: object) -> None:
        """`note` says more."""
