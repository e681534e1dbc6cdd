"""The published documents say what the code does."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client

from exchange.api import docs
from exchange.api.tests.fixtures import Api, document
from exchange.kernel.errors import error_table

SCHEMA_FILE = Path(docs.__file__).parent / "schema.yaml"


def test_the_committed_openapi_document_is_the_one_that_the_code_makes(tmp_path: Path) -> None:
    """Make it anew with: manage.py spectacular --validate --fail-on-warn --file exchange/api/schema.yaml."""
    made = tmp_path / "schema.yaml"

    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(made))

    assert made.read_text() == SCHEMA_FILE.read_text()


def test_the_served_document_is_the_committed_one(client: Client) -> None:
    response = client.get("/api/v1/schema")

    assert response.json() == yaml.safe_load(SCHEMA_FILE.read_text())


def test_every_call_of_the_api_is_in_the_document() -> None:
    paths = {path.removeprefix("/api/v1") for path in document()["paths"]}

    assert {
        "/orders",
        "/orders/batch",
        "/orders/preview",
        "/orders/{order_id}",
        "/withdrawals",
        "/withdrawals/options",
        "/withdrawals/{withdrawal_id}",
        "/addresses",
        "/addresses/{address_id}",
        "/deposits",
        "/deposits/address",
        "/notices",
        "/notices/read",
        "/webhooks/deposits/{provider}",
        "/orders/{order_id}/reduce",
        "/fills",
        "/account",
        "/account/statement",
        "/positions",
        "/positions/{symbol}",
        "/positions/{symbol}/history",
        "/positions/{symbol}/leverage",
        "/positions/{symbol}/margin",
        "/positions/{symbol}/close",
        "/positions/{symbol}/reverse",
        "/reserves",
        "/reserves/{publication_id}",
        "/reserves/{publication_id}/proof",
        "/instruments",
        "/depth/{symbol}",
        "/trades/{symbol}",
        "/klines/{symbol}",
        "/ticker/{symbol}",
        "/auction/{symbol}",
        "/time",
        "/errors",
        "/auth/register",
        "/auth/token",
        "/auth/token/refresh",
        "/auth/logout",
        "/users/me",
        "/faucet",
    } == paths


def test_every_answer_has_the_envelope_and_every_call_its_refusals() -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            assert responses["default"]["content"]["application/json"]["schema"] == {
                "$ref": "#/components/schemas/Refusal"
            }, (path, method)
            for response in responses.values():
                schema = response["content"]["application/json"]["schema"]
                assert "$ref" in schema or schema["required"] == ["code", "message", "data"], (path, method)


def test_requests_are_published_as_strictly_as_they_are_checked() -> None:
    schemas = document()["components"]["schemas"]
    requests = {name for name in schemas if name.endswith("Request")}

    assert requests == {
        "AddressSaveRequest",
        "AmendRequest",
        "DepositAddressRequest",
        "DepositWebhookRequest",
        "FaucetRequest",
        "LeverageRequest",
        "MarginChangeRequest",
        "NoticesReadRequest",
        "OrderBatchRequest",
        "OrderRequest",
        "PositionOrderRequest",
        "ReduceRequest",
        "RefreshRequest",
        "RegisterRequest",
        "TokenRequest",
        "WithdrawalPlaceRequest",
    }
    assert all(schemas[name]["additionalProperties"] is False for name in requests)


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        found = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return found + [reference for inner in node.values() for reference in _references(inner)]
    if isinstance(node, list):
        return [reference for inner in node for reference in _references(inner)]
    return []


def test_the_asyncapi_document_is_served_and_whole(client: Client) -> None:
    served = yaml.safe_load(client.get("/api/v1/asyncapi").content)

    assert served["asyncapi"] == "3.0.0"
    for reference in _references(served):
        node = served
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    assert _references(served)


@pytest.mark.django_db
def test_the_documentation_page_shows_every_error_and_loads_nothing_from_elsewhere(client: Client) -> None:
    response = client.get("/api/docs")

    text = response.content.decode()
    assert response.status_code == 200
    for cls in error_table()[1:]:
        assert f"<code>{cls.name}</code>" in text
    assert "http://" not in text
    assert "https://" not in text
    assert "/api/v1/asyncapi" in text
    assert "<script>" not in text


@pytest.mark.parametrize(
    "name",
    ["api/docs.js", "api/docs.css", "drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"],
)
def test_the_page_finds_its_own_files(name: str) -> None:
    assert finders.find(name)


def test_the_websockets_refusals_are_in_the_published_table(api: Api) -> None:
    names = {row["error"] for row in api.get("/errors").data}

    assert {"UNKNOWN_CHANNEL", "MESSAGE_FORM", "RESUME_TOO_OLD"} <= names


def test_the_error_table_speaks_the_readers_language(api: Api) -> None:
    answer = api.get("/errors", accept_language="zh-TW")

    assert answer.headers["Content-Language"] == "zh-hant"
