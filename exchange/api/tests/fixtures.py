"""The `api` fixture: calls the REST API as a client would, and holds every answer against the OpenAPI document."""

import functools
import itertools
import json
import re
from typing import Any, NamedTuple

import jsonschema  # type: ignore[import-untyped]
import pytest
from django.test import Client

_callers = itertools.count(1)


class Answer(NamedTuple):
    """An answer, read."""

    status: int
    body: Any
    headers: Any

    @property
    def code(self) -> int:
        """The envelope's code."""
        return self.body["code"]

    @property
    def data(self) -> Any:
        """The envelope's data."""
        return self.body["data"]

    @property
    def error(self) -> str:
        """The refusal's permanent name."""
        return self.body["data"]["error"]


class Api:
    """A client at an address of its own, so that the limit per address counts each test alone."""

    def __init__(self) -> None:
        number = next(_callers)
        self.address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.client = Client(raise_request_exception=False)
        self.headers: dict[str, str] = {}

    def as_user(self, user: Any) -> "Api":
        """Return a client that sends a fresh access token of this user."""
        from exchange.users.services import issue_tokens

        other = Api()
        other.headers = {"authorization": f"Bearer {issue_tokens(user).access}"}
        return other

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request under /api/v1 and check its answer against the published document."""
        payload = raw if raw is not None else (b"" if body is None else json.dumps(body).encode())
        named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        response = self.client.generic(
            method,
            f"/api/v1{path}",
            payload,
            content_type=content_type if payload else "",
            headers={**self.headers, **named},
            REMOTE_ADDR=self.address,
        )
        assert response["Content-Type"] == "application/json", response.content
        answer = Answer(response.status_code, json.loads(response.content), response.headers)
        check_against_document(method, path, answer)
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        """GET."""
        return self.send("GET", path, headers=headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        """POST."""
        return self.send("POST", path, {} if body is None else body, headers=headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Answer:
        """PUT."""
        return self.send("PUT", path, {} if body is None else body, headers=headers)

    def delete(self, path: str, **headers: str) -> Answer:
        """DELETE."""
        return self.send("DELETE", path, headers=headers)


@functools.cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    from exchange.api import docs

    return json.loads(docs.openapi())


def check_against_document(method: str, path: str, answer: Answer) -> None:
    """Fail unless the answer has the shape that the document promises for its call and status."""
    bare = "/api/v1" + path.partition("?")[0]
    paths = sorted(document()["paths"].items(), key=lambda item: "{" in item[0])  # an exact path before a pattern
    for template, operations in paths:
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), bare) and method.lower() in operations:
            responses = operations[method.lower()]["responses"]
            described = responses.get(str(answer.status), responses["default"])
            content = described.get("content")
            if content is None:
                continue
            schema = {**content["application/json"]["schema"], "components": document()["components"]}
            jsonschema.validate(answer.body, schema, cls=jsonschema.Draft202012Validator)
            return
    refusal = {"$ref": "#/components/schemas/Refusal", "components": document()["components"]}
    jsonschema.validate(answer.body, refusal, cls=jsonschema.Draft202012Validator)


@pytest.fixture
def api() -> Api:
    """Return a client that nobody is signed in to."""
    return Api()
