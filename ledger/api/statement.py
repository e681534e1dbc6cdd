"""A user's own account statement over REST."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from exchange.api.authentication import customer_id
from exchange.api.envelope import ApiResponse
from exchange.api.pagination import decode_cursor, encode_cursor
from ledger.api.serializers import StatementQuery, StatementResponse
from ledger.reports import customer, moments, scopes
from ledger.reports.customer import Funds, Movement


class StatementView(APIView):
    """A user's account statement."""

    @extend_schema(operation_id="account_statement", parameters=[StatementQuery], responses={200: StatementResponse})
    def get(self, request: Request) -> ApiResponse:
        """List what moved your funds in a period, oldest first, with the balance after each movement."""
        query = StatementQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        start, cursor = asked.get("from"), asked.get("cursor")
        found = customer.statement(
            customer_id(request),
            moments.period(None if start is None else moments.just_before(start), asked.get("to")),
            asset=asked.get("asset"),
            holds=asked["holds"] == "true",
            after_entry_id=None if cursor is None else decode_cursor(cursor),
            limit=asked["limit"],
        )
        following = found.next_entry_id
        return ApiResponse(
            {
                "opening": _all(found.opening),
                "items": [_movement(movement) for movement in found.movements],
                "closing": _all(found.closing),
                "next_cursor": None if following is None else encode_cursor(following),
            }
        )


def _all(funds: Mapping[str, Funds]) -> list[dict[str, Any]]:
    """Return funds by asset; assets without any are left out."""
    return [_funds(asset, held) for asset, held in funds.items() if any(held)]


def _funds(asset: str, funds: Funds) -> dict[str, Any]:
    return {
        "asset": asset,
        "balance": funds.total,
        "available": funds.available,
        "frozen": funds.held,
        "margin": funds.margin,
        "debt": scopes.negated(funds.debt),
    }


def _movement(movement: Movement) -> dict[str, Any]:
    return {
        "entry_id": movement.entry_id,
        "kind": movement.kind.lower(),
        "reference": movement.key,
        "counted_from": movement.counts_at,
        "recorded_at": movement.recorded_at,
        "late": movement.late,
        "change": movement.change.total,
        "after": _funds(movement.asset, movement.after),
    }
