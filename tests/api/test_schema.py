"""OpenAPI: the committed schema is the one that the code makes."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import yaml
from django.conf import settings
from django.core.management import call_command
from django.test import Client

from tests.api.conftest import Api

COMMITTED = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"
DOCUMENTED = {
    ("get", "/health"),
    ("post", "/api/v1/flows"),
    ("get", "/api/v1/flows"),
    ("get", "/api/v1/flows/{id}"),
    ("post", "/api/v1/transactions"),
    ("get", "/api/v1/transactions/{instance_id}"),
    ("post", "/api/v1/transactions/{instance_id}/retry"),
    ("get", "/api/v1/exceptions"),
    ("post", "/api/v1/exceptions/{id}/handle"),
    ("post", "/api/v1/exceptions/{id}/retry"),
    ("get", "/api/v1/stats/overview"),
    ("get", "/api/v1/stats/flows/{flow_id}"),
}


def made() -> str:
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    return out.getvalue()


def test_the_committed_schema_is_the_one_that_the_code_makes() -> None:
    assert yaml.safe_load(COMMITTED.read_text()) == yaml.safe_load(made()), (
        "run: manage.py spectacular --file docs/openapi.yaml"
    )


def test_the_schema_has_the_documented_addresses() -> None:
    paths = yaml.safe_load(COMMITTED.read_text())["paths"]

    assert {(method, path) for path, methods in paths.items() for method in methods} >= DOCUMENTED


def test_every_answer_in_the_schema_is_an_envelope() -> None:
    paths = yaml.safe_load(COMMITTED.read_text())["paths"]

    for operations in paths.values():
        for operation in operations.values():
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            assert list(schema["properties"]) == ["code", "message", "data"]
            assert {"400", "500"} <= set(operation["responses"])


def test_the_schema_is_served_as_json_without_an_envelope(api: Api) -> None:
    response = Client().get("/api/schema")

    assert response["Content-Type"] == "application/json"
    assert json.loads(response.content)["openapi"].startswith("3.")


def test_the_page_that_shows_it_has_no_inline_script(db: None) -> None:
    response = Client().get("/api/docs")
    page = response.content.decode()

    assert page.count("<script") == page.count('<script src="/')
    assert "https://" not in page
    assert "unsafe-inline" not in response["Content-Security-Policy"].split("style-src")[0]
    script = Client().get("/api/docs?script=")
    assert script["Content-Type"] == "application/javascript"
