"""A client of the API for services in Python.

    with Client("https://tasks.example.com", token=token) as client:
        client.start("order_1", flow_id=flow_id, params={"deduct": {"amount": 100}})
        print(client.wait("order_1", seconds=60).status)

It needs nothing but the standard library; nothing here imports the service. docs/client.md says the rest.
"""

from .answers import (
    AssignedException,
    Comment,
    CommentedException,
    ExceptionRecord,
    HandledException,
    MovedTransaction,
    PausedTransaction,
    RerunTransaction,
    ScheduledRetry,
    SettledException,
    Start,
    Started,
    Task,
    Transaction,
)
from .client import Client
from .errors import ApiError, ClientError, Conflict, NotFound, UnexpectedAnswer, Unreachable

__all__ = [
    "ApiError",
    "AssignedException",
    "Client",
    "ClientError",
    "Comment",
    "CommentedException",
    "Conflict",
    "ExceptionRecord",
    "HandledException",
    "MovedTransaction",
    "NotFound",
    "PausedTransaction",
    "RerunTransaction",
    "ScheduledRetry",
    "SettledException",
    "Start",
    "Started",
    "Task",
    "Transaction",
    "UnexpectedAnswer",
    "Unreachable",
]
