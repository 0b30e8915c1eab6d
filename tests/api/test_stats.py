"""/api/v1/stats"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Count, Q
from django.utils import timezone

from dist_task.models import StatDelta, StatRollup
from exceptions_app.models import ExceptionRecord
from flows.register import register
from stats import queries
from tests.api.conftest import Api
from tests.commands.rows import fail_one, make_flow, start_one, succeed_one
from transactions.models import Transaction


def test_the_figures_equal_a_recount(api: Api) -> None:
    flow = make_flow()
    for number in range(3):
        succeed_one(f"s{number}", flow=flow)
    fail_one("f1", flow=flow)
    fail_one("f2", flow=flow)
    api.post("/api/v1/transactions/f2/retry")
    start_one("p1", flow=flow)
    start_one("c1", flow=flow)
    api.post("/api/v1/transactions/c1/cancel")

    data = api.get(f"/api/v1/stats/flows/{flow.pk}").data

    recount = Transaction.objects.aggregate(
        total_runs=Count("id"),
        success_count=Count("id", filter=Q(status="success")),
        failed_count=Count("id", filter=Q(status="failed")),
        cancelled_count=Count("id", filter=Q(status="cancelled")),
    )
    assert {name: data[name] for name in recount} == recount
    assert data["success_rate"] == 0.75
    overview = api.get("/api/v1/stats/overview").data
    assert (overview["total_transactions"], overview["success_rate"]) == (7, 0.75)


def test_rollups_and_deltas_are_added_up(api: Api) -> None:
    flow = make_flow()
    bucket = datetime(2024, 1, 1, tzinfo=UTC)
    StatRollup.objects.create(flow=flow, bucket=bucket, created=900, succeeded=800, failed=100, duration_ms=4_000_000)
    StatDelta.objects.create(flow=flow, bucket=bucket, created=100, succeeded=100, duration_ms=500_000)

    data = api.get("/api/v1/stats/overview").data

    assert data == {
        "total_transactions": 1000,
        "success_rate": 0.9,
        "avg_duration": 5.0,
        "exceptions_today": 0,
    }


def test_nothing_yet_is_zero(api: Api) -> None:
    data = api.get("/api/v1/stats/overview").data

    assert data == {"total_transactions": 0, "success_rate": 0.0, "avg_duration": 0.0, "exceptions_today": 0}


def test_all_versions_of_a_flow_are_added_up(api: Api) -> None:
    first = make_flow()
    second = register(name=first.name, flow_type="test", definition={"tasks": []}, create_user="me")
    start_one("i1", flow=first)
    start_one("i2", flow=second)

    path = f"/api/v1/stats/flows/{second.pk}"

    assert api.get(path).data["total_runs"] == 1
    assert api.get(f"{path}?all_versions=true").data["total_runs"] == 2
    assert api.get(f"{path}?all_versions=maybe").fields == {"all_versions"}


def test_an_unknown_flow_is_404(api: Api) -> None:
    assert api.get("/api/v1/stats/flows/nope").status == 404


def test_exceptions_of_yesterday_are_not_of_today(api: Api) -> None:
    fail_one("i1", flow=make_flow())
    ExceptionRecord.objects.update(opened_at=timezone.now() - timedelta(days=1))

    assert api.get("/api/v1/stats/overview").data["exceptions_today"] == 0


@pytest.mark.parametrize(("zone", "hour"), [("UTC", 0), ("Asia/Shanghai", 16)])
def test_the_day_begins_in_the_configured_time_zone(settings: Any, zone: str, hour: int) -> None:
    settings.TIME_ZONE = zone

    begins = queries.midnight(datetime(2024, 1, 31, 18, 30, tzinfo=UTC))

    assert begins.astimezone(UTC) == datetime(2024, 1, 31, hour, tzinfo=UTC)
