"""REST calls of notices: what a customer was told."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from exchange.api.authentication import customer_id
from exchange.api.envelope import ApiResponse
from exchange.api.pagination import decode_cursor, page
from exchange.kernel.clock import utc_now
from ledger.transfers import notices
from ledger.transfers.serializers import (
    NoticePageResponse,
    NoticesReadRequest,
    NoticesReadResponse,
    TransferPageQuery,
)


class NoticesView(APIView):
    """A customer's notices."""

    @extend_schema(operation_id="notices_list", parameters=[TransferPageQuery], responses={200: NoticePageResponse})
    def get(self, request: Request) -> ApiResponse:
        """List what you were told, newest first."""
        query = TransferPageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        owner_id = customer_id(request)
        limit, cursor = query.validated_data["limit"], query.validated_data.get("cursor")
        before_id = None if cursor is None else decode_cursor(cursor)
        rows = notices.page(owner_id, before_id=before_id, limit=limit + 1)
        return ApiResponse({**page(rows, limit=limit, shape=notices.wire), "unread": notices.unread(owner_id)})


class NoticesReadView(APIView):
    """Reading marks."""

    @extend_schema(operation_id="notices_read", request=NoticesReadRequest, responses={200: NoticesReadResponse})
    def post(self, request: Request) -> ApiResponse:
        """Mark your notices as read, up to one."""
        form = NoticesReadRequest(data=request.data)
        form.is_valid(raise_exception=True)
        owner_id = customer_id(request)
        count = notices.mark_read(owner_id, **form.validated_data, now=utc_now())
        return ApiResponse({"count": count, "unread": notices.unread(owner_id)})
