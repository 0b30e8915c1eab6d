"""An SMS gateway for the example: a line of JSON comes, a line of JSON goes. `python sms_gateway.py PORT` runs it."""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from collections import deque
from typing import Any

PASSWORD = "for-the-example"  # noqa: S105  # of a gateway that lives as long as the example


class Gateway(socketserver.ThreadingTCPServer):
    """`sent`: the messages by their keys, each once. `moods`: what happens to the next ones instead of being sent.

    `busy`: it was not sent. `lose`: it is sent, and the answer gets lost. `hang`: it is sent, and no answer comes.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Line)
        self.sent: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, Any]] = []
        self.moods: deque[str] = deque()
        self.is_closing = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def __enter__(self) -> Gateway:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.is_closing.set()
        self.shutdown()
        self.server_close()


class Line(socketserver.StreamRequestHandler):
    server: Gateway

    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        self.server.asked.append(asked)
        mood = self.server.moods.popleft() if self.server.moods else ""
        answer = {"status": "busy"} if mood == "busy" else self.send(asked)
        if mood == "hang":
            self.server.is_closing.wait(60)
        elif mood != "lose":
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    def send(self, asked: dict[str, Any]) -> dict[str, str]:
        if asked["password"] != PASSWORD:
            return {"status": "refused", "reason": "the password is wrong"}
        if not asked["to"].startswith("+"):
            return {"status": "refused", "reason": f"{asked['to']} is no number"}
        if asked["key"] not in self.server.sent:  # the same key again is the same message: answered, not sent
            self.server.sent[asked["key"]] = asked
            print(f"to {asked['to']}: {asked['text']}")
        return {"status": "sent", "id": f"sms-{list(self.server.sent).index(asked['key']) + 1}"}


if __name__ == "__main__":
    with Gateway(int(sys.argv[1])) as gateway:
        print(f"listening on 127.0.0.1:{gateway.port}")
        threading.Event().wait()
