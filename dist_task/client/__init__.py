"""A client of the API for services in Python.

    with Client("https://tasks.example.com", token=token) as client:
        client.start("order_1", flow_id=flow_id, params={"deduct": {"amount": 100}})
        print(client.wait("order_1", seconds=60).status)

It needs nothing but the standard library; nothing here imports the service. docs/client.md says the rest.
"""

from .answers import (
    ExceptionRecord,
    HandledException,
    MovedTransaction,
    ScheduledRetry,
    Start,
    Started,
    Task,
    Transaction,
)
from .client import Client
from .errors import ApiError, ClientError, Conflict, NotFound, UnexpectedAnswer, Unreachable

__all__ = [
    "ApiError",
    "Client",
    "ClientError",
    "Conflict",
    "ExceptionRecord",
    "HandledException",
    "MovedTransaction",
    "NotFound",
    "ScheduledRetry",
    "Start",
    "Started",
    "Task",
    "Transaction",
    "UnexpectedAnswer",
    "Unreachable",
]
