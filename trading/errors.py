"""Refusals of the order's road, by permanent code."""

from exchange.kernel.errors import DomainError, gettext_noop


class OrderNotFoundError(DomainError):
    """There is no such order, or it is another trader's: the same answer."""

    code = 3001
    name = "ORDER_NOT_FOUND"
    status = 404
    message = gettext_noop("There is no order %(order_id)s.")


class OrderNotOpenError(DomainError):
    """The order has ended already."""

    code = 3002
    name = "ORDER_NOT_OPEN"
    status = 409
    message = gettext_noop("Order %(order_id)s is %(status)s already.")


class DuplicateClientOrderIdError(DomainError):
    """The client's id was used for a different order."""

    code = 3003
    name = "DUPLICATE_CLIENT_ORDER_ID"
    status = 409
    message = gettext_noop("client_order_id %(client_order_id)s was used for another order.")


class ReduceTooLargeError(DomainError):
    """More should be taken off than is open."""

    code = 3004
    name = "REDUCE_TOO_LARGE"
    message = gettext_noop("Order %(order_id)s has only %(open)s open.")


class PriceRequiredError(DomainError):
    """A limit order needs a price."""

    code = 3005
    name = "PRICE_REQUIRED"
    message = gettext_noop("A limit order needs a price.")


class PriceNotAllowedError(DomainError):
    """A market order has no price."""

    code = 3006
    name = "PRICE_NOT_ALLOWED"
    message = gettext_noop("A market order takes no price.")


class OrderPendingReviewError(DomainError):
    """The order waits for a person's review and cannot be changed, only cancelled."""

    code = 3007
    name = "ORDER_PENDING_REVIEW"
    status = 409
    message = gettext_noop("Order %(order_id)s waits for review; it can be cancelled.")
