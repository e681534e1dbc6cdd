"""REST calls about what a trader holds: spot holdings, positions in contracts, their leverage and their margin."""

from typing import Any, Final

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from exchange.api import throttling
from exchange.api.authentication import customer_id
from exchange.api.envelope import ApiResponse
from exchange.api.pagination import decode_cursor, encode_cursor, page
from exchange.kernel.clock import utc_now
from trading import position_selectors, selectors
from trading.api import accepted, order_shape
from trading.margin_models import MarginState
from trading.position_serializers import (
    HOLDINGS,
    LeverageRequest,
    MarginChangeRequest,
    MarginPageResponse,
    MarginRequestResponse,
    PositionHistoryResponse,
    PositionOrderRequest,
    PositionPageQuery,
    PositionResponse,
    holding_shape,
    margin_shape,
    position_shape,
    step_shape,
)
from trading.serializers import OrderResponse
from trading.services import gathering, position_changes
from trading.services.requests import OfPosition, Submission

CHANGES: Final = throttling.Limit("position-change", 120, 60)
REMOVAL_WAIT_S: Final = 1.0
_RETRY = "A retry: the one that was made first."


class PositionsView(APIView):
    """What a trader holds."""

    @extend_schema(operation_id="positions", responses={200: HOLDINGS})
    def get(self, request: Request) -> ApiResponse:
        """Return your spot holdings with what they cost, and your open positions in contracts."""
        owner_id = customer_id(request)
        spot = [holding_shape(item) for item in selectors.holdings(owner_id)]
        return ApiResponse(spot + [position_shape(item) for item in position_selectors.contract_positions(owner_id)])


class PositionView(APIView):
    """A position in one contract."""

    @extend_schema(operation_id="position", responses={200: PositionResponse})
    def get(self, request: Request, symbol: str) -> ApiResponse:
        """Return your position in a contract; its leverage also while there is none."""
        return ApiResponse(position_shape(position_selectors.contract_position(customer_id(request), symbol)))


class PositionHistoryView(APIView):
    """How a position came about."""

    @extend_schema(
        operation_id="position_history", parameters=[PositionPageQuery], responses={200: PositionHistoryResponse}
    )
    def get(self, request: Request, symbol: str) -> ApiResponse:
        """List the steps of your position in a contract, newest first. All of them, added up, are the position."""
        limit, before = _page_of(request)
        spec, rows = position_selectors.position_steps(
            customer_id(request), symbol, before_version=before, limit=limit + 1
        )
        following = encode_cursor(rows[limit - 1].version) if len(rows) > limit else None
        return ApiResponse({"items": [step_shape(row, spec) for row in rows[:limit]], "next_cursor": following})


class PositionLeverageView(APIView):
    """The leverage of a trader in a contract."""

    @extend_schema(operation_id="position_leverage", request=LeverageRequest, responses={200: PositionResponse})
    def put(self, request: Request, symbol: str) -> ApiResponse:
        """Set your leverage in a contract; not while you have open orders there."""
        owner_id = _counted(request)
        form = LeverageRequest(data=request.data)
        form.is_valid(raise_exception=True)
        position_changes.set_leverage(owner_id, symbol, form.validated_data["leverage"], now=utc_now())
        return ApiResponse(position_shape(position_selectors.contract_position(owner_id, symbol)))


class PositionMarginView(APIView):
    """The margin of a trader's position in a contract."""

    @extend_schema(operation_id="margin_requests", parameters=[PositionPageQuery], responses={200: MarginPageResponse})
    def get(self, request: Request, symbol: str) -> ApiResponse:
        """List the changes of margin that you asked for, newest first, and where each stands."""
        limit, before = _page_of(request)
        rows = position_selectors.margin_requests(customer_id(request), symbol, before_id=before, limit=limit + 1)
        return ApiResponse(page(rows, limit=limit, shape=margin_shape))

    @extend_schema(
        operation_id="margin_change",
        request=MarginChangeRequest,
        responses={
            201: MarginRequestResponse,
            200: OpenApiResponse(MarginRequestResponse, description=_RETRY),
            202: OpenApiResponse(MarginRequestResponse, description="It waits for the books to catch up."),
        },
    )
    def post(self, request: Request, symbol: str) -> ApiResponse:
        """Add margin at once, or take some out as soon as the books have caught up: waits up to a second for that.

        What is taken out leaves the initial margin at the mark price and the unrealised loss covered. It is judged
        again when the books have caught up; `state` says what became of it.
        """
        owner_id = _counted(request)
        form = MarginChangeRequest(data=request.data)
        form.is_valid(raise_exception=True)
        made, repeated = position_changes.change_margin(owner_id, form.change(symbol), now=utc_now())
        if made.state == MarginState.WAITING:
            made = position_selectors.wait_margin(made.id, REMOVAL_WAIT_S)
        if made.state == MarginState.WAITING:
            return ApiResponse(margin_shape(made), status=202, message=_("margin change pending"))
        return ApiResponse(margin_shape(made), status=200 if repeated else 201)


class _PositionOrderView(APIView):
    """An order whose side and size follow from the position."""

    what: OfPosition

    def place(self, request: Request, symbol: str) -> ApiResponse:
        """Place the market order; what the position is, is read under the trader's gate."""
        form = PositionOrderRequest(data=request.data)
        form.is_valid(raise_exception=True)
        wanted = Submission(customer_id(request), form.order(symbol, self.what))
        [result] = gathering.submit([wanted], now=utc_now())
        order = accepted(result)
        return ApiResponse(order_shape(order), status=200 if order.repeated else 201)


_ORDER_ANSWERS: dict[int, Any] = {201: OrderResponse, 200: OpenApiResponse(OrderResponse, description=_RETRY)}


class PositionCloseView(_PositionOrderView):
    """Closing at the market."""

    what = OfPosition.CLOSE

    @extend_schema(operation_id="position_close", request=PositionOrderRequest, responses=_ORDER_ANSWERS)
    def post(self, request: Request, symbol: str) -> ApiResponse:
        """Close your position in a contract at the market: an order with close_position."""
        return self.place(request, symbol)


class PositionReverseView(_PositionOrderView):
    """Turning round at the market."""

    what = OfPosition.REVERSE

    @extend_schema(operation_id="position_reverse", request=PositionOrderRequest, responses=_ORDER_ANSWERS)
    def post(self, request: Request, symbol: str) -> ApiResponse:
        """Turn your position in a contract round at the market: an order of twice the position."""
        return self.place(request, symbol)


def _counted(request: Request) -> int:
    """Return who asks, and count the request against the limit of such changes."""
    owner_id = customer_id(request)
    throttling.take(CHANGES, str(owner_id))
    return owner_id


def _page_of(request: Request) -> tuple[int, int | None]:
    """Return how many rows a page has, and before which it begins."""
    query = PositionPageQuery(data=request.query_params.dict())
    query.is_valid(raise_exception=True)
    cursor = query.validated_data.get("cursor")
    return query.validated_data["limit"], None if cursor is None else decode_cursor(cursor)
