"""/api/v1/transactions"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils.translation import gettext
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from dist_task import longpoll
from dist_task.api import ApiViewSet
from dist_task.authentication import actor
from dist_task.engine import operate
from dist_task.engine.rerun import Rerun
from dist_task.engine.start import Started, StartRequest, check_instance_id, start, start_many
from dist_task.envelope import Failure, describe
from dist_task.errors import DistTaskError, InvalidRequest, NotFound
from dist_task.four_eyes.serializers import RequestEntry
from dist_task.models import ExecutionLog, TaskRun
from dist_task.problems import shown
from dist_task.roles import roles_of
from dist_task.states import Op, RunStatus
from dist_task.wire import Reason, Remark
from flows.registry_rows import load

from . import reading, serializers
from .filters import TransactionFilter
from .models import Transaction
from .plain import plain_start
from .undoing import undo_entry, undoing_of

BRIEF_FLOW = ("flow__definition", "flow__task_definitions", "flow__description")
WAIT = OpenApiParameter(
    "wait",
    OpenApiTypes.FLOAT,
    description=f"Answer when the status is final, or after these seconds (0 to {longpoll.MOST_SECONDS}).",
)

RERUN_TASKS = OpenApiParameter(
    "tasks", OpenApiTypes.STR, description="The tasks to run again, with commas between them; without it all."
)
RUN_FILTERS = [
    OpenApiParameter("task_id", OpenApiTypes.STR, description="Only runs of this task."),
    OpenApiParameter("op", OpenApiTypes.STR, enum=Op.values),
    OpenApiParameter("status", OpenApiTypes.STR, enum=RunStatus.values),
]


def checked_id(instance_id: str) -> str:
    """Raises NotFound for an id that no transaction can have."""
    try:
        return check_instance_id(instance_id)
    except InvalidRequest:
        raise missing(instance_id) from None


def missing(instance_id: str) -> NotFound:
    message = gettext("There is no transaction with the instance_id %(id)s.")
    return NotFound(message % {"id": shown(instance_id, length=80)})


def find_transaction(instance_id: str) -> Transaction:
    rows = Transaction.objects.select_related("flow").defer(*BRIEF_FLOW)
    txn = rows.filter(instance_id=checked_id(instance_id)).first()
    if txn is None:
        raise missing(instance_id)
    return txn


def find_row(instance_id: str) -> reading.Row:
    rows = reading.read([checked_id(instance_id)])
    if not rows:
        raise missing(instance_id)
    return rows[0]


@extend_schema_view(list=extend_schema(summary="List transactions, newest first"))
class TransactionViewSet(ListModelMixin, ApiViewSet):
    queryset = Transaction.objects.select_related("flow").defer("params", *BRIEF_FLOW)
    serializer_class = serializers.BriefTransaction
    filterset_class = TransactionFilter
    lookup_field = "instance_id"
    after_field = "instance_id"
    paged: ClassVar = ("list", "tasks", "logs")
    query: ClassVar = {"retrieve": ("wait",), "rerun_plan": ("tasks",), "tasks": ("task_id", "op", "status")}
    permissions: ClassVar = {
        "list": "transactions.view_transaction",
        "retrieve": "transactions.view_transaction",
        "tasks": "transactions.view_transaction",
        "logs": "transactions.view_transaction",
        "create": "transactions.add_transaction",
        "batch": "transactions.add_transaction",
        "retry": "exceptions_app.retry_exceptionrecord",
        "cancel": "transactions.change_transaction",
        "pause": "transactions.pause_transaction",
        "resume": "transactions.pause_transaction",
        "complete": "exceptions_app.complete_exceptionrecord",
        "approve": "transactions.change_transaction",
        "reject": "transactions.change_transaction",
        "compensation": "transactions.view_transaction",
        "compensate": "transactions.compensate_transaction",
        "rerun_plan": "transactions.view_transaction",
        "rerun": "transactions.rerun_transaction",
    }

    @property
    def takes_large_bodies(self) -> bool:  # type: ignore[override]  # by action
        return self.action == "batch"

    def get_queryset(self) -> QuerySet[Transaction]:
        return super().get_queryset().order_by("-created_at", "-id")

    def after_key(self, text: str) -> Any:
        return text if self.action == "list" and len(text) <= 64 and "\0" not in text else super().after_key(text)

    @extend_schema(
        summary="Start a transaction",
        request=serializers.NewTransaction,
        responses=serializers.StartedTransaction,
    )
    def create(self, request: Request) -> Response:
        wanted = requested(self.valid(serializers.NewTransaction))
        return Response(shown_start(start(wanted, actor=actor(request))))

    @extend_schema(
        summary="Start many transactions",
        description="Answers 200 when the request itself is well formed; each start has its own code.",
        request=serializers.NewTransactions,
        responses=serializers.BatchAnswer,
    )
    @action(detail=False, methods=["post"])
    def batch(self, request: Request) -> Response:
        items = self.valid(serializers.NewTransactions)["transactions"]
        return Response({"results": start_all(items, actor=actor(request))})

    @extend_schema(summary="Show a transaction", parameters=[WAIT], responses=serializers.FullTransaction)
    def retrieve(self, request: Request, instance_id: str) -> Response:
        seconds = longpoll.seconds_of(request)
        row = find_row(instance_id)
        if seconds and not row.is_final and longpoll.may_block(request):
            longpoll.block(instance_id, seconds=seconds)
            row = find_row(instance_id)
        return Response(reading.shown_in_full([row])[0])

    @extend_schema(
        summary="Retry a failed transaction",
        request=Remark,
        responses=serializers.MovedTransaction,
    )
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, instance_id: str) -> Response:
        wanted = self.valid(Remark)
        txn = operate.retry_transaction(checked_id(instance_id), actor=actor(request), **wanted)
        return Response({"instance_id": txn.instance_id, "status": txn.status})

    @extend_schema(
        summary="Cancel a transaction",
        request=Reason,
        responses=serializers.CancelledTransaction,
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, instance_id: str) -> Response:
        wanted = self.valid(Reason)
        txn = operate.cancel_transaction(checked_id(instance_id), actor=actor(request), **wanted)
        return Response({"instance_id": txn.instance_id, "status": txn.status, "cancelling": txn.cancelling})

    @extend_schema(
        summary="Pause a transaction",
        description="Nothing of it begins after this, nor of what it has started, until it is resumed. Attempts in "
        "flight end; answers and callbacks are kept.",
        request=Reason,
        responses=serializers.PausedTransaction,
    )
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, instance_id: str) -> Response:
        wanted = self.valid(Reason)
        return Response(shown_pause(operate.pause_transaction(checked_id(instance_id), actor=actor(request), **wanted)))

    @extend_schema(
        summary="Resume a paused transaction",
        request=Reason,
        responses=serializers.PausedTransaction,
    )
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, instance_id: str) -> Response:
        wanted = self.valid(Reason)
        return Response(
            shown_pause(operate.resume_transaction(checked_id(instance_id), actor=actor(request), **wanted))
        )

    @extend_schema(
        summary="Complete by hand what waits for its service",
        description="In place of the callback, or of the service's next answer. A task that has failed is completed "
        "by its exception.",
        request=serializers.Completion,
        responses=serializers.MovedTransaction,
    )
    @action(detail=True, methods=["post"])
    def complete(self, request: Request, instance_id: str) -> Response:
        wanted = self.valid(serializers.Completion)
        txn = operate.complete_wait(checked_id(instance_id), actor=actor(request), **wanted)
        return Response({"instance_id": txn.instance_id, "status": txn.status})

    @extend_schema(
        summary="Approve what waits for it",
        request=serializers.Decision,
        responses=serializers.MovedTransaction,
    )
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, instance_id: str) -> Response:
        return self._decide(request, instance_id, approve=True)

    @extend_schema(
        summary="Reject what waits for an approval",
        description="The task fails with the code REJECTED.",
        request=serializers.Decision,
        responses=serializers.MovedTransaction,
    )
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, instance_id: str) -> Response:
        return self._decide(request, instance_id, approve=False)

    def _decide(self, request: Request, instance_id: str, *, approve: bool) -> Response:
        wanted = self.valid(serializers.Decision)
        roles = roles_of(request.user)
        txn = operate.decide_approval(
            checked_id(instance_id), approve=approve, actor=actor(request), roles=roles, **wanted
        )
        return Response({"instance_id": txn.instance_id, "status": txn.status})

    @extend_schema(
        summary="Show how a transaction is undone, or would be",
        description="Before it is asked for this is the plan; afterwards it says how far it is.",
        responses=serializers.Compensation,
    )
    @action(detail=True)
    def compensation(self, request: Request, instance_id: str) -> Response:
        txn = find_transaction(instance_id)
        tasks = [undo_entry(each) for each in undoing_of(txn)]
        return Response({**shown_compensation(txn), "tasks": tasks})

    @extend_schema(
        summary="Undo what an ended transaction has done",
        description="A failed compensation goes on where it failed. The status of the transaction stays. Where the "
        "four-eyes rule is on it is only asked for: then the answer has a `request`, which a second person decides.",
        request=Reason,
        responses=serializers.CompensatedTransaction,
    )
    @action(detail=True, methods=["post"])
    def compensate(self, request: Request, instance_id: str) -> Response:
        wanted = self.valid(Reason)
        txn = operate.compensate_transaction(checked_id(instance_id), actor=actor(request), **wanted)
        return Response(shown_compensation(txn))

    @extend_schema(
        summary="Show what running a transaction again would do",
        parameters=[RERUN_TASKS],
        responses=serializers.RerunPlan,
    )
    @action(detail=True, url_path="rerun")
    def rerun_plan(self, request: Request, instance_id: str) -> Response:
        text = request.query_params.get("tasks", "")
        plan = operate.plan_rerun(checked_id(instance_id), tasks=text.split(",") if text else ())
        return Response(shown_plan(plan, instance_id=instance_id))

    @extend_schema(
        summary="Run an ended transaction again, from some of its tasks on",
        description="As a new transaction of the same flow, with the same params: the old one stays as it was. What "
        "the other tasks gave is carried over. Services see other Idempotency-Keys.",
        request=serializers.Rerun,
        responses=serializers.RerunTransaction,
    )
    @rerun_plan.mapping.post
    def rerun(self, request: Request, instance_id: str) -> Response:
        wanted = self.valid(serializers.Rerun)
        again = operate.rerun_transaction(checked_id(instance_id), actor=actor(request), **wanted)
        brief = {"instance_id": again.instance_id, "flow_id": again.flow_id, "status": again.status}
        return Response({**brief, "rerun_of": instance_id})

    @extend_schema(
        summary="List the task runs of a transaction",
        description="The items of a task with `foreach` are runs of their own, with their number as `item`.",
        parameters=RUN_FILTERS,
        responses=serializers.TaskRunEntry(many=True),
        filters=False,
    )
    @action(detail=True, serializer_class=serializers.TaskRunEntry, filterset_class=None, after_field="pk")
    def tasks(self, request: Request, instance_id: str) -> Response:
        txn = find_transaction(instance_id)
        context = {"instance_id": txn.instance_id, "definition": load(txn.flow)}
        runs = TaskRun.objects.filter(transaction=txn, **run_filter(request)).order_by("id")
        page = self.paginate_queryset(runs)
        return self.get_paginated_response(serializers.TaskRunEntry(page, many=True, context=context).data)

    @extend_schema(
        summary="List what happened to a transaction",
        responses=serializers.LogEntry(many=True),
        filters=False,
    )
    @action(detail=True, serializer_class=serializers.LogEntry, filterset_class=None, after_field="pk")
    def logs(self, request: Request, instance_id: str) -> Response:
        txn = find_transaction(instance_id)
        page = self.paginate_queryset(ExecutionLog.objects.filter(transaction=txn).order_by("id"))
        return self.get_paginated_response(serializers.LogEntry(page, many=True).data)


def run_filter(request: Request) -> dict[str, str]:
    """Of the runs of a transaction; ValidationError for a direction or a status that there is not."""
    wanted = {name: request.query_params[name] for name in ("task_id", "op", "status") if name in request.query_params}
    for name, choices in (("op", Op.values), ("status", RunStatus.values)):
        if wanted.get(name, choices[0]) not in choices:
            raise ValidationError({name: [gettext("Must be one of: %(choices)s") % {"choices": ", ".join(choices)}]})
    if "\0" in wanted.get("task_id", ""):
        raise ValidationError({"task_id": [gettext("there is no such task")]})
    return wanted


def requested(wanted: dict[str, Any]) -> StartRequest:
    return StartRequest(instance_id=wanted["instance_id"], flow_id=wanted["flow_id"], params=wanted.get("params", {}))


def shown_compensation(txn: Transaction) -> dict[str, Any]:
    """With what awaits a second person, where something does."""
    shown = {"instance_id": txn.instance_id, "status": txn.status, "compensation": txn.compensation}
    request = operate.awaiting_request(txn)
    return {**shown, "request": RequestEntry(request).data} if request else shown


def shown_plan(plan: Rerun, *, instance_id: str) -> dict[str, Any]:
    return {
        "instance_id": instance_id,
        "runs": plan.runs,
        "carried_over": plan.carried,
        "done_again": plan.done,
    }


def shown_pause(txn: Transaction) -> dict[str, Any]:
    return {"instance_id": txn.instance_id, "status": txn.status, "paused": txn.paused}


def shown_start(started: Started) -> dict[str, str]:
    return {"instance_id": started.instance_id, "flow_id": started.flow_id, "status": started.status}


def start_all(items: Sequence[Any], *, actor: str) -> list[dict[str, Any]]:
    """One envelope per item, in order; what is malformed never reaches the engine."""
    checked = [check_item(item) for item in items]
    good = [item for item in checked if isinstance(item, StartRequest)]
    results = iter(start_many(good, actor=actor) if good else [])
    return [outcome(next(results) if isinstance(item, StartRequest) else item) for item in checked]


def check_item(item: Any) -> StartRequest | Failure:
    if plain := plain_start(item):
        return plain
    serializer = serializers.NewTransaction(data=item)
    try:
        serializer.is_valid(raise_exception=True)
    except ValidationError as error:
        return described(error)
    return requested(serializer.validated_data)


def outcome(result: Started | DistTaskError | Failure) -> dict[str, Any]:
    if isinstance(result, Started):
        return {"code": 0, "message": "success", "data": shown_start(result)}
    return (result if isinstance(result, Failure) else described(result)).body


def described(error: Exception) -> Failure:
    failure = describe(error)
    if failure is None:
        raise error
    return failure
