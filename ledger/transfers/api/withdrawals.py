"""REST calls of withdrawals and saved addresses. Another customer's do not exist here."""

from typing import Any, Final

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from exchange.api import throttling
from exchange.api.authentication import customer_id
from exchange.api.envelope import ApiResponse
from exchange.api.pagination import decode_cursor, page
from exchange.kernel.clock import utc_now
from ledger.transfers import addresses, identity, terms, withdrawals
from ledger.transfers.errors import AddressNotFoundError, WithdrawalNotFoundError
from ledger.transfers.models import WithdrawalState
from ledger.transfers.serializers import (
    ID_MAX,
    AddressListQuery,
    AddressResponse,
    AddressSaveRequest,
    WithdrawalListQuery,
    WithdrawalOptionsResponse,
    WithdrawalPageResponse,
    WithdrawalPlaceRequest,
    WithdrawalResponse,
    address_shape,
    withdrawal_shape,
)
from ledger.transfers.withdrawals import WithdrawalRequest

WRITES: Final = throttling.Limit("transfers", 60, 60)
"""Requests, cancels and address changes of one customer in a minute."""


def _write(request: Request) -> int:
    """Count a call that changes something; return who calls."""
    owner_id = customer_id(request)
    throttling.take(WRITES, str(owner_id))
    return owner_id


def _confirm(request: Request, values: dict[str, Any]) -> None:
    """Take the confirmation out of the values, and check it."""
    identity.confirm(request.user, otp=values.pop("otp", ""), password=values.pop("password", ""))


class WithdrawalsView(APIView):
    """A customer's withdrawals."""

    @extend_schema(
        operation_id="withdrawals_list", parameters=[WithdrawalListQuery], responses={200: WithdrawalPageResponse}
    )
    def get(self, request: Request) -> ApiResponse:
        """List your withdrawals, newest first."""
        query = WithdrawalListQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        limit, cursor, status = wanted["limit"], wanted.get("cursor"), wanted.get("status")
        rows = withdrawals.page(
            customer_id(request),
            asset=wanted.get("asset"),
            states=() if status is None else (status.upper(),),
            before_id=None if cursor is None else decode_cursor(cursor),
            limit=limit + 1,
        )
        return ApiResponse(page(rows, limit=limit, shape=withdrawal_shape))

    @extend_schema(
        operation_id="withdrawals_request",
        request=WithdrawalPlaceRequest,
        responses={
            201: WithdrawalResponse,
            200: OpenApiResponse(WithdrawalResponse, description="A retry: the withdrawal that was requested first."),
        },
    )
    def post(self, request: Request) -> ApiResponse:
        """Request a withdrawal; its funds are held with the answer. People review and approve it."""
        form = WithdrawalPlaceRequest(data=request.data)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        owner_id = _write(request)
        _confirm(request, values)
        made, repeated = withdrawals.request(owner_id, WithdrawalRequest(**values), now=utc_now())
        return ApiResponse(withdrawal_shape(made), status=200 if repeated else 201)


class WithdrawalOptionsView(APIView):
    """What can be withdrawn."""

    @extend_schema(operation_id="withdrawal_options", responses={200: WithdrawalOptionsResponse})
    def get(self, request: Request) -> ApiResponse:
        """Return fees, minimums, your limits and what is left of them, and how you confirm."""
        owner_id = customer_id(request)
        return ApiResponse(
            {"confirm_with": identity.method(request.user), "routes": terms.withdrawal_routes(owner_id, now=utc_now())}
        )


class WithdrawalView(APIView):
    """One withdrawal."""

    @extend_schema(operation_id="withdrawal_get", responses={200: WithdrawalResponse})
    def get(self, request: Request, withdrawal_id: int) -> ApiResponse:
        """Return one of your withdrawals."""
        return ApiResponse(withdrawal_shape(withdrawals.one(customer_id(request), _known(withdrawal_id))))

    @extend_schema(
        operation_id="withdrawal_cancel",
        responses={
            200: OpenApiResponse(WithdrawalResponse, description="It had been cancelled before."),
            202: OpenApiResponse(WithdrawalResponse, description="It is being cancelled; the funds come back shortly."),
        },
    )
    def delete(self, request: Request, withdrawal_id: int) -> ApiResponse:
        """Cancel a withdrawal that nobody has approved yet."""
        found = withdrawals.cancel(_write(request), _known(withdrawal_id), now=utc_now())
        return ApiResponse(withdrawal_shape(found), status=200 if found.state == WithdrawalState.CANCELLED else 202)


def _known(withdrawal_id: int) -> int:
    """Refuse an id that no withdrawal can have, before the database sees it."""
    if withdrawal_id > ID_MAX:
        raise WithdrawalNotFoundError(withdrawal_id=str(withdrawal_id)[:24])
    return withdrawal_id


class AddressesView(APIView):
    """A customer's saved addresses."""

    @extend_schema(
        operation_id="addresses_list", parameters=[AddressListQuery], responses={200: AddressResponse(many=True)}
    )
    def get(self, request: Request) -> ApiResponse:
        """List your saved addresses, by label."""
        query = AddressListQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        rows = addresses.book(customer_id(request), asset=query.validated_data.get("asset"))
        return ApiResponse([address_shape(row) for row in rows])

    @extend_schema(operation_id="addresses_save", request=AddressSaveRequest, responses={201: AddressResponse})
    def post(self, request: Request) -> ApiResponse:
        """Save an address; it can be used once the delay is over."""
        form = AddressSaveRequest(data=request.data)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        owner_id = _write(request)
        _confirm(request, values)
        return ApiResponse(address_shape(addresses.add(owner_id, **values, now=utc_now())), status=201)


class AddressView(APIView):
    """One saved address."""

    @extend_schema(
        operation_id="address_remove",
        responses={200: OpenApiResponse(response={"type": "null"}, description="Removed.")},
    )
    def delete(self, request: Request, address_id: int) -> ApiResponse:
        """Remove a saved address; withdrawals under way go on."""
        if address_id > ID_MAX:
            raise AddressNotFoundError(address_id=str(address_id)[:24])
        addresses.remove(_write(request), address_id, now=utc_now())
        return ApiResponse(None)
