"""REST calls of deposits: a customer's own, and what custody providers tell."""

from datetime import datetime
from typing import Final

from django.db import IntegrityError
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from exchange.api import throttling
from exchange.api.authentication import client_address, customer_id
from exchange.api.envelope import ApiResponse, as_refusal
from exchange.api.pagination import decode_cursor, page
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger.transfers import deposit_addresses, deposits, webhooks
from ledger.transfers.errors import WebhookRepeatedError
from ledger.transfers.models import WebhookDelivery
from ledger.transfers.serializers import (
    DepositAddressRequest,
    DepositAddressResponse,
    DepositPageResponse,
    DepositWebhookRequest,
    DepositWebhookResponse,
    TransferPageQuery,
    deposit_address_shape,
    deposit_shape,
)

ADDRESSES: Final = throttling.Limit("deposit-address", 30, 60)
WEBHOOKS: Final = throttling.Limit("webhook", 1200, 60)


class DepositsView(APIView):
    """A customer's deposits."""

    @extend_schema(operation_id="deposits_list", parameters=[TransferPageQuery], responses={200: DepositPageResponse})
    def get(self, request: Request) -> ApiResponse:
        """List your deposits, newest first."""
        query = TransferPageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        limit, cursor = query.validated_data["limit"], query.validated_data.get("cursor")
        before_id = None if cursor is None else decode_cursor(cursor)
        rows = deposits.page(customer_id(request), before_id=before_id, limit=limit + 1)
        return ApiResponse(page(rows, limit=limit, shape=deposit_shape))


class DepositAddressView(APIView):
    """Where a customer sends an asset."""

    @extend_schema(
        operation_id="deposit_address", request=DepositAddressRequest, responses={200: DepositAddressResponse}
    )
    def post(self, request: Request) -> ApiResponse:
        """Return where to send an asset on a network; assigned at the first call, the same at every later one."""
        form = DepositAddressRequest(data=request.data)
        form.is_valid(raise_exception=True)
        owner_id = customer_id(request)
        throttling.take(ADDRESSES, str(owner_id))
        found = deposit_addresses.assign(owner_id, **form.validated_data, now=utc_now())
        return ApiResponse(deposit_address_shape(found))


_TIMESTAMP: Final = "X-Timestamp"
_SIGNATURE: Final = "X-Signature"


class DepositWebhookView(APIView):
    """What a custody provider tells."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        operation_id="deposit_webhook",
        request=DepositWebhookRequest,
        parameters=[
            OpenApiParameter(_TIMESTAMP, str, OpenApiParameter.HEADER, description="Seconds since 1970."),
            OpenApiParameter(
                _SIGNATURE,
                str,
                OpenApiParameter.HEADER,
                description="HMAC-SHA256, hexadecimal, of the timestamp, a dot and the raw body.",
            ),
        ],
        responses={200: DepositWebhookResponse},
    )
    def post(self, request: Request, provider: str) -> ApiResponse:
        """Announce a deposit, or tell of more confirmations. The same reference is the same deposit."""
        now = utc_now()
        address = client_address(request.META)
        throttling.take(WEBHOOKS, throttling.site_of(address))
        call = webhooks.verify(
            provider,
            timestamp=request.headers.get(_TIMESTAMP, ""),
            signature=request.headers.get(_SIGNATURE, ""),
            body=request.body,
            address=address,
            now=now,
        )
        earlier = webhooks.repeated(call)
        if earlier is not None:
            return _repeated(earlier)
        try:
            form = DepositWebhookRequest(data=request.data)
            form.is_valid(raise_exception=True)
            return _take_in(call, webhooks.Told(**form.validated_data), now)
        except (DomainError, ValidationError) as refused:
            webhooks.keep_refused(call, as_refusal(refused), now=now)
            raise


def _take_in(call: webhooks.Call, told: webhooks.Told, now: datetime) -> ApiResponse:
    """Take a call in; where another one with its digest or reference came at the same moment, look at that first."""
    try:
        deposit = webhooks.take_in(call, told, now=now)
    except IntegrityError:
        earlier = webhooks.repeated(call)
        if earlier is not None:
            return _repeated(earlier)
        deposit = webhooks.take_in(call, told, now=now)
    return ApiResponse({"deposit_id": deposit.pk, "status": deposit.state.lower(), "repeated": False})


def _repeated(earlier: WebhookDelivery) -> ApiResponse:
    """Answer a call that came before, without effect."""
    if earlier.deposit is None:
        raise WebhookRepeatedError(outcome=earlier.outcome)
    deposit = earlier.deposit
    return ApiResponse({"deposit_id": deposit.pk, "status": deposit.state.lower(), "repeated": True})
