"""What the demo's services answer, and when they fail on purpose. Pure: the request alone decides.

The attempt is read from the request's header, so a restart of the demo changes nothing for orders under way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

SLOW_SECONDS = 3.0
DOWN_ATTEMPTS = {"shaky": 2, "regret": 3}  # long enough for who regrets to cancel meanwhile
MUTE_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Call:
    """`kind` is the first word of the user's id: it says which failure this customer has."""

    key: str  # the Idempotency-Key
    attempt: int
    params: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.params.get("user_id", "")).split("_")[0]

    @property
    def reference(self) -> str:
        """The same for every attempt, since the key is."""
        return self.key.replace("-", "")[:12] or "none"


@dataclass(frozen=True, slots=True)
class Answer:
    body: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    delay_seconds: float = 0.0
    reset: bool = False  # the work is done, but the connection breaks before the answer


def take_order(call: Call) -> Answer:
    return Answer({"order_id": call.params.get("order_id"), "accepted": True})


def deduct(call: Call) -> Answer:
    """The rpc form: a business failure is an `error` member of an answer with status 200."""
    if call.kind == "poor":
        return _rpc_error("INSUFFICIENT_FUNDS", message="the account does not cover the amount")
    if call.kind == "limit" and call.attempt == 1:
        return _rpc_error("CARD_LIMIT", message="the daily limit is reached; ask the customer to raise it")
    if call.attempt <= DOWN_ATTEMPTS.get(call.kind, 0):
        return _unavailable("the payment service is being restarted")
    return Answer({"result": {"payment_id": f"pay_{call.reference}", "amount": call.params.get("amount")}})


def reserve(call: Call) -> Answer:
    if call.kind == "soldout":
        return _refused(409, code="OUT_OF_STOCK", message=f"{call.params.get('sku')} is sold out")
    slow = call.kind == "slow"
    return Answer({"hold_id": f"hold_{call.reference}"}, delay_seconds=SLOW_SECONDS if slow else 0.0)


def notify(call: Call) -> Answer:
    if call.kind == "mute" and call.attempt <= MUTE_ATTEMPTS:
        return _unavailable("the mail gateway does not answer")
    if call.kind == "gone":
        return _refused(422, code="NO_ADDRESS", message="the customer has no e-mail address")
    return Answer({"message_id": f"msg_{call.reference}"})


def ship(call: Call) -> Answer:
    lost = call.kind == "lost" and call.attempt == 1
    return Answer({"parcel_id": f"parcel_{call.reference}"}, reset=lost)


METHODS: Mapping[str, Callable[[Call], Answer]] = {"payment.deduct": deduct}
PATHS: Mapping[str, Callable[[Call], Answer]] = {
    "/orders": take_order,
    "/inventory/reserve": reserve,
    "/notifications": notify,
    "/shipments": ship,
}


def _rpc_error(code: str, *, message: str) -> Answer:
    return Answer({"error": {"code": code, "message": message}})


def _unavailable(message: str) -> Answer:
    return Answer({"code": "UNAVAILABLE", "message": message}, status=503)


def _refused(status: int, *, code: str, message: str) -> Answer:
    return Answer({"code": code, "message": message}, status=status)
