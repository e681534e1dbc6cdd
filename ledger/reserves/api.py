"""REST calls of proofs of reserves: publications for everyone, a proof for its own user only."""

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from exchange.api import throttling
from exchange.api.authentication import customer_id
from exchange.api.envelope import ApiResponse
from exchange.api.pagination import decode_cursor, page
from ledger.reserves import proofs, statements
from ledger.reserves.serializers import (
    ProofResponse,
    ReservesDetailResponse,
    ReservesPageQuery,
    ReservesPageResponse,
    ReservesResponse,
)

PROOFS = throttling.Limit("reserves-proof", 20, 60)
"""A proof reads a part of the tree for each asset."""


class ReservesListView(APIView):
    """Publications."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(operation_id="reserves", parameters=[ReservesPageQuery], responses={200: ReservesPageResponse})
    def get(self, request: Request) -> ApiResponse:
        """List what was published of reserves, newest first."""
        query = ReservesPageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        limit, cursor = query.validated_data["limit"], query.validated_data.get("cursor")
        found = statements.newest(limit + 1, before=None if cursor is None else decode_cursor(cursor))
        return ApiResponse(page(found, limit=limit, shape=lambda item: ReservesResponse(item).data))


class ReservesView(APIView):
    """One publication."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(operation_id="reserves_detail", responses={200: ReservesDetailResponse})
    def get(self, request: Request, publication_id: int) -> ApiResponse:
        """Return a publication with its signed statement."""
        return ApiResponse(ReservesDetailResponse(statements.published(publication_id)).data)


class ReservesProofView(APIView):
    """The caller's own proof."""

    @extend_schema(operation_id="reserves_proof", responses={200: ProofResponse})
    def get(self, request: Request, publication_id: int) -> ApiResponse:
        """Return your own proof of inclusion; `python -m ledger.reserves.verify` or the page checks it."""
        user_id = customer_id(request)
        throttling.take(PROOFS, str(user_id))
        return ApiResponse(ProofResponse(proofs.proof(publication_id, user_id)).data)
