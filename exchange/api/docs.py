"""The documentation of the API: error table, OpenAPI document, and a page around both."""

import functools
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from exchange.api.schema import error_rows
from exchange.api.serializers import ErrorTableRow
from exchange.api.wire import dumps

ASYNCAPI_FILE = Path(__file__).parent / "asyncapi.yaml"


class ErrorTableView(APIView):
    """The published table of refusals."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(operation_id="errors", responses={200: ErrorTableRow(many=True)})
    def get(self, request: Request) -> Response:
        """List every refusal: its permanent code and name, HTTP status and words."""
        return Response(error_rows())


@functools.cache
def openapi() -> bytes:
    """Return the OpenAPI document; it changes only with the code, so once for each process."""
    document: dict[str, Any] = SchemaGenerator().get_schema(  # type: ignore[no-untyped-call]
        request=None, public=True
    )
    return dumps(document)


@require_safe
def schema(_request: HttpRequest) -> HttpResponse:
    """Serve the OpenAPI document as it is: tools expect no envelope around it."""
    return HttpResponse(openapi(), content_type="application/vnd.oai.openapi+json")


@require_safe
def asyncapi(_request: HttpRequest) -> HttpResponse:
    """Serve the AsyncAPI document of the WebSocket."""
    return HttpResponse(ASYNCAPI_FILE.read_bytes(), content_type="application/vnd.aai.asyncapi+yaml")


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Serve the documentation page: Swagger UI from our own static files, then the error table."""
    return render(request, "api/docs.html", {"errors": error_rows()})
