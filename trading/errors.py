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


class StopPriceRequiredError(DomainError):
    """A stop or take-profit order needs the price at which it wakes."""

    code = 3008
    name = "STOP_PRICE_REQUIRED"
    message = gettext_noop("A stop or take-profit order needs a stop_price.")


class StopPriceNotAllowedError(DomainError):
    """Only stop and take-profit orders wake at a price."""

    code = 3009
    name = "STOP_PRICE_NOT_ALLOWED"
    message = gettext_noop("Only stop and take-profit orders take a stop_price.")


class CallbackRateError(DomainError):
    """A trailing stop needs its distance; no other order has one."""

    code = 3014
    name = "CALLBACK_RATE"
    message = gettext_noop(
        "A trailing stop, and only that, takes a callback_rate of 0.000001 to 0.5 and may have an activation_price."
    )


class TimeInForceNotAllowedError(DomainError):
    """The order's type does not go with this time in force."""

    code = 3010
    name = "TIME_IN_FORCE_NOT_ALLOWED"
    message = gettext_noop("An order of type %(type)s takes one of: %(words)s.")


class PostOnlyNotAllowedError(DomainError):
    """Only a limit order that stays in the book can be post-only."""

    code = 3011
    name = "POST_ONLY_NOT_ALLOWED"
    message = gettext_noop("post_only goes with limit orders that stay in the book.")


class DisplayQuantityError(DomainError):
    """An iceberg's visible part does not fit the order."""

    code = 3012
    name = "DISPLAY_QUANTITY"
    message = gettext_noop(
        "display_quantity goes with limit orders that stay in the book, and is at most the quantity."
    )


class ExpiryError(DomainError):
    """A gtd order needs an end in the future; no other order takes one."""

    code = 3013
    name = "EXPIRES_AT"
    message = gettext_noop("expires_at must be in the future, and goes with gtd only.")


class OrderPendingReviewError(DomainError):
    """The order waits for a person's review and cannot be changed, only cancelled."""

    code = 3007
    name = "ORDER_PENDING_REVIEW"
    status = 409
    message = gettext_noop("Order %(order_id)s waits for review; it can be cancelled.")


class AmendPendingError(DomainError):
    """The engine has not answered the last amend of this order yet."""

    code = 3015
    name = "AMEND_PENDING"
    status = 409
    message = gettext_noop("Order %(order_id)s is being amended already.")


class AmendNotAllowedError(DomainError):
    """Only limit orders that are in the book can be amended."""

    code = 3016
    name = "AMEND_NOT_ALLOWED"
    message = gettext_noop("Only limit orders in the book can be amended.")


class AmendEmptyError(DomainError):
    """The amend changes nothing, or leaves nothing open."""

    code = 3017
    name = "AMEND_EMPTY"
    message = gettext_noop("Give a new price or a new quantity above what has filled (%(filled)s).")


class AmendOvertakenError(DomainError):
    """A fill came before the amend; the order stays as it is."""

    code = 3018
    name = "AMEND_OVERTAKEN"
    status = 409
    message = gettext_noop("Order %(order_id)s was not amended: it changed first; %(filled)s of it has filled.")
