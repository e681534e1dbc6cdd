"""REST calls of a trader: orders, account, holdings. Another trader's order does not exist here."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from exchange.api.authentication import customer_id
from exchange.api.envelope import SUCCESS, ApiResponse, as_refusal, refusal_data, refusal_message
from exchange.api.pagination import decode_cursor, page
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from exchange.kernel.money import plain
from exchange.observability import metrics
from marketdata import selectors as instruments
from trading import selectors
from trading.errors import AmendOvertakenError, AmendRefusedError, OrderNotFoundError, OrderNotOpenError
from trading.models import ID_MAX, OPEN_STATUSES, Order, OrderStatus, Side, Trade
from trading.preview_serializers import PreviewResponse, preview_shape
from trading.serializers import (
    ORDER_EXAMPLES,
    AccountResponse,
    AmendRequest,
    CancelAllResponse,
    CancelResponse,
    FillPageQuery,
    FillPageResponse,
    OrderBatchRequest,
    OrderBatchResponse,
    OrderDetailResponse,
    OrderListQuery,
    OrderPageResponse,
    OrderRequest,
    OrderResponse,
    ReduceRequest,
    SymbolQuery,
    TradeResponse,
    TradesQuery,
)
from trading.services import cancel_all, gathering, preview
from trading.services.requests import AmendOrder, CancelOrder, PlaceOrder, ReduceOrder, Submission
from trading.wire import order_fields

CANCEL_WAIT_S = 1.0
OPEN = "open"
ID_SHOWN_MAX = 24
UNKNOWN = "unknown"
OVERTAKEN = {"ORDER_CHANGED", "UNKNOWN_ORDER", "BAD_TRIGGER"}
"""Why the engine refuses an amend of an order that has changed, ended or been triggered meanwhile: `reasons`."""


def order_shape(order: Order) -> dict[str, Any]:
    """Return an order as clients see it."""
    return order_fields(order, instruments.instrument_by_id(order.instrument_id))


def _known(order_id: int) -> int:
    """Refuse an id that no order can have, before the database sees it."""
    if order_id > ID_MAX:
        raise OrderNotFoundError(order_id=str(order_id)[:ID_SHOWN_MAX])
    return order_id


def accepted(result: Order | DomainError) -> Order:
    """Return the order, or raise its refusal."""
    if isinstance(result, DomainError):
        raise result
    return result


def _count_received(bodies: Sequence[Any]) -> None:
    """Count orders as they arrive, by instrument; a made-up symbol must not become a series of its own."""
    symbols = (body.get("symbol") if isinstance(body, Mapping) else None for body in bodies)
    for symbol, count in Counter(symbol if isinstance(symbol, str) else UNKNOWN for symbol in symbols).items():
        metrics.ORDERS_RECEIVED.labels(symbol if instruments.is_known(symbol) else UNKNOWN).inc(count)


def _place(owner_id: int, wanted: list[PlaceOrder]) -> list[Order | DomainError]:
    """Place orders in one transaction."""
    return gathering.submit([Submission(owner_id, request) for request in wanted], now=utc_now())


class OrdersView(APIView):
    """A trader's orders."""

    @extend_schema(operation_id="orders_list", parameters=[OrderListQuery], responses={200: OrderPageResponse})
    def get(self, request: Request) -> ApiResponse:
        """List your orders, newest first."""
        query = OrderListQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        limit = wanted["limit"]
        cursor = wanted.get("cursor")
        rows = selectors.orders(
            customer_id(request),
            symbol=wanted.get("symbol"),
            statuses=_statuses(wanted.get("status")),
            before_id=None if cursor is None else decode_cursor(cursor),
            limit=limit + 1,
        )
        return ApiResponse(page(rows, limit=limit, shape=order_shape))

    @extend_schema(
        operation_id="orders_place",
        request=OrderRequest,
        examples=ORDER_EXAMPLES,
        responses={
            201: OrderResponse,
            200: OpenApiResponse(OrderResponse, description="A retry: the order that was placed first."),
        },
    )
    def post(self, request: Request) -> ApiResponse:
        """Accept an order for matching; it is durable with the answer. Fills follow on the WebSocket."""
        _count_received([request.data])
        wanted = OrderRequest.read(request.data)
        [order] = map(accepted, _place(customer_id(request), [wanted]))
        return ApiResponse(order_shape(order), status=200 if order.repeated else 201)

    @extend_schema(operation_id="orders_cancel_all", parameters=[SymbolQuery], responses={200: CancelAllResponse})
    def delete(self, request: Request) -> ApiResponse:
        """Ask for the cancel of all your open orders, on one instrument or on all."""
        query = SymbolQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        count = cancel_all.of_trader(customer_id(request), query.validated_data.get("symbol"), now=utc_now())
        return ApiResponse({"count": count})


def _statuses(word: str | None) -> tuple[str, ...]:
    """Return the statuses that a filter stands for; none means all."""
    if word is None:
        return ()
    return OPEN_STATUSES if word == OPEN else (word,)


class OrderBatchView(APIView):
    """Many orders at once."""

    @extend_schema(operation_id="orders_place_batch", request=OrderBatchRequest, responses={200: OrderBatchResponse})
    def post(self, request: Request) -> ApiResponse:
        """Place up to 50 orders; each has its own result, and a refused one stops no other."""
        orders = OrderBatchRequest.read(request.data)
        _count_received(orders)
        wanted = [_read_order(item) for item in orders]
        placed = iter(_place(customer_id(request), [item for item in wanted if isinstance(item, PlaceOrder)]))
        results = [next(placed) if isinstance(item, PlaceOrder) else item for item in wanted]
        return ApiResponse({"results": [_result(item) for item in results]})


class OrderPreviewView(APIView):
    """What an order would cost."""

    @extend_schema(operation_id="orders_preview", request=OrderRequest, examples=ORDER_EXAMPLES,
                   responses={200: PreviewResponse})  # fmt: skip
    def post(self, request: Request) -> ApiResponse:
        """Say what an order would cost, hold, reserve and risk, or why it would be refused. Nothing changes."""
        wanted = OrderRequest.read(request.data)
        return ApiResponse(preview_shape(preview.preview(customer_id(request), wanted, now=utc_now())))


def _read_order(item: Any) -> PlaceOrder | DomainError:
    """Validate one order of a batch."""
    try:
        return OrderRequest.read(item)
    except Exception as exc:
        error = as_refusal(exc)
        if error is None:
            raise
        return error


def _result(result: Order | DomainError) -> dict[str, Any]:
    """Return one item of a batch in an envelope of its own."""
    if isinstance(result, DomainError):
        return {"code": result.code, "message": refusal_message(result), "data": refusal_data(result)}
    return {"code": 0, "message": SUCCESS, "data": order_shape(result)}


class OrderView(APIView):
    """One order."""

    @extend_schema(operation_id="order_get", responses={200: OrderDetailResponse})
    def get(self, request: Request, order_id: int) -> ApiResponse:
        """Return one of your orders with its fills."""
        order = selectors.order(customer_id(request), _known(order_id))
        trades = selectors.order_trades([order.id])[order.id]
        return ApiResponse({**order_shape(order), "trades": [_fill(trade, order.side) for trade in trades]})

    @extend_schema(
        operation_id="order_cancel",
        responses={
            200: CancelResponse,
            202: OpenApiResponse(CancelResponse, description="The engine has not answered within a second."),
            409: OpenApiResponse(OrderResponse, description="The order had ended before; data carries it."),
        },
    )
    def delete(self, request: Request, order_id: int) -> ApiResponse:
        """Cancel an order; waits up to a second for the engine."""
        owner_id = customer_id(request)
        [result] = gathering.submit([Submission(owner_id, CancelOrder(_known(order_id)))], now=utc_now())
        if isinstance(result, OrderNotOpenError):
            return _ended(selectors.order(owner_id, order_id))
        accepted(result)
        order = selectors.wait_final(owner_id, order_id, CANCEL_WAIT_S)
        if order.status == OrderStatus.CANCELLED:
            return ApiResponse(_cancel_shape(order), message=_("order cancelled"))
        if order.is_open:
            return ApiResponse(_cancel_shape(order), status=202, message=_("cancel pending"))
        return _ended(order)

    @extend_schema(
        operation_id="order_amend",
        request=AmendRequest,
        responses={
            200: OrderResponse,
            202: OpenApiResponse(OrderResponse, description="The engine has not answered within a second."),
        },
    )
    def put(self, request: Request, order_id: int) -> ApiResponse:
        """Amend an order's price, its total quantity or its stop price in place; waits up to a second for the engine.

        A new price or more quantity goes to the back of the queue; less quantity keeps its place. An order that waits
        can be given a new stop price too. If a fill or its trigger comes first the amend is refused by the engine, and
        the order stays as it is.
        """
        form = AmendRequest(data=request.data)
        form.is_valid(raise_exception=True)
        owner_id = customer_id(request)
        wanted = Submission(owner_id, _amend_request(owner_id, order_id, form))
        [result] = gathering.submit([wanted], now=utc_now())
        accepted(result)
        order = selectors.wait_amended(owner_id, order_id, CANCEL_WAIT_S)
        if order.amend_requested_at is not None:
            return ApiResponse(order_shape(order), status=202, message=_("amend pending"))
        if order.amend_refusal in OVERTAKEN:
            raise AmendOvertakenError(order_id=order_id, filled=plain(order.filled_quantity))
        if order.amend_refusal:
            raise AmendRefusedError(order_id=order_id, reason=order.amend_refusal)
        return ApiResponse(order_shape(order), message=_("order amended"))


def _fill(trade: Trade, side: str) -> dict[str, Any]:
    """Return a trade as one of its two sides sees it: its own fee and role, nothing of the other side."""
    spec = instruments.instrument_by_id(trade.instrument_id)
    return {
        "trade_id": trade.id,
        "price": spec.wire_price(trade.price),
        "quantity": spec.wire_qty(trade.quantity),
        "executed_at": trade.executed_at,
        "fee": trade.buyer_fee if side == Side.BUY else trade.seller_fee,
        "role": "taker" if trade.taker_side == side else "maker",
    }


def _cancel_shape(order: Order) -> dict[str, Any]:
    """Return what a cancel answers about its order."""
    return {"order_id": order.id, "status": str(order.status), "cancelled_at": order.cancelled_at}


def _ended(order: Order) -> ApiResponse:
    """Return the refusal to change an order that has ended, with the order as it ended."""
    error = OrderNotOpenError(order_id=order.id, status=str(order.status))
    return ApiResponse(
        {**order_shape(order), **refusal_data(error)},
        status=error.status,
        message=refusal_message(error),
        code=error.code,
    )


def _amend_request(owner_id: int, order_id: int, form: AmendRequest) -> AmendOrder:
    """Read an amend's numbers as the order's instrument writes them."""
    order = selectors.order(owner_id, _known(order_id))
    spec = instruments.instrument_by_id(order.instrument_id)
    readers = {"price": spec.parse_price, "quantity": spec.parse_qty, "stop_price": spec.parse_price}
    return AmendOrder(order_id, **{name: readers[name](value) for name, value in form.validated_data.items()})


class OrderReduceView(APIView):
    """Less of one order."""

    @extend_schema(operation_id="order_reduce", request=ReduceRequest, responses={202: OrderResponse})
    def post(self, request: Request, order_id: int) -> ApiResponse:
        """Take a quantity off what is open; the order keeps its place in the queue. The engine follows."""
        form = ReduceRequest(data=request.data)
        form.is_valid(raise_exception=True)
        owner_id = customer_id(request)
        order = selectors.order(owner_id, _known(order_id))
        spec = instruments.instrument_by_id(order.instrument_id)
        quantity = spec.parse_qty(form.validated_data["quantity"])
        wanted = Submission(owner_id, ReduceOrder(order_id=order_id, quantity=quantity))
        [result] = gathering.submit([wanted], now=utc_now())
        return ApiResponse(order_shape(accepted(result)), status=202, message=_("reduction pending"))


class FillsView(APIView):
    """A trader's fills."""

    @extend_schema(operation_id="fills", parameters=[FillPageQuery], responses={200: FillPageResponse})
    def get(self, request: Request) -> ApiResponse:
        """List the fills of your orders, newest first. A trade with yourself shows both of its sides."""
        query = FillPageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        owner_id, limit = customer_id(request), query.validated_data["limit"]
        cursor = query.validated_data.get("cursor")
        before_id = None if cursor is None else decode_cursor(cursor)
        rows = selectors.own_trades(owner_id, before_id=before_id, limit=limit + 1)
        found = page(rows, limit=limit, shape=lambda trade: _own_fills(trade, owner_id))
        return ApiResponse({**found, "items": [fill for fills in found["items"] for fill in fills]})


def _own_fills(trade: Trade, owner_id: int) -> list[dict[str, Any]]:
    """Return a trade as each side of it that is the owner's sees it: mostly one, both in a trade with oneself."""
    spec = instruments.instrument_by_id(trade.instrument_id)
    sides = ((Side.BUY, trade.buyer_id, trade.buy_order_id), (Side.SELL, trade.seller_id, trade.sell_order_id))
    return [
        {
            **_fill(trade, side),
            "order_id": order_id,
            "symbol": trade.symbol,
            "side": side,
            "fee_asset": spec.quote,
        }
        for side, user_id, order_id in sides
        if user_id == owner_id
    ]


class AccountView(APIView):
    """A trader's money."""

    @extend_schema(operation_id="account", responses={200: AccountResponse})
    def get(self, request: Request) -> ApiResponse:
        """Return your balances of each asset, and the day's orders."""
        found = selectors.account(customer_id(request), utc_now().date())
        return ApiResponse(
            {
                "balances": [_balance(item) for item in found.balances],
                "daily_order_count": found.daily_order_count,
                "daily_order_limit": found.daily_order_limit,
            }
        )


def _balance(item: selectors.AssetBalance) -> dict[str, Any]:
    """Return one asset's balances; what is owed is flagged, with the day by which it is due."""
    return {
        "asset": item.asset,
        "balance": item.balance,
        "frozen_balance": item.frozen,
        "margin": item.margin,
        "net_balance": item.net,
        "debt": item.debt,
        "debt_flagged": item.debt > 0,
        "debt_due_at": item.debt_due_at,
    }


class TradesView(APIView):
    """The tape of an instrument."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(operation_id="trades", parameters=[TradesQuery], responses={200: TradeResponse(many=True)})
    def get(self, request: Request, symbol: str) -> ApiResponse:
        """List an instrument's last trades, newest first."""
        query = TradesQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        spec = instruments.instrument(symbol)
        trades = selectors.recent_trades(symbol, query.validated_data["limit"])
        return ApiResponse(
            [
                {
                    "trade_id": trade.id,
                    "price": spec.wire_price(trade.price),
                    "quantity": spec.wire_qty(trade.quantity),
                    "side": trade.taker_side,
                    "executed_at": trade.executed_at,
                    "sequence": trade.number,
                }
                for trade in trades
            ]
        )
