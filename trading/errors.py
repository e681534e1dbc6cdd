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
    """Only limit orders that are in the book, and orders that wait for their trigger, can be changed."""

    code = 3016
    name = "AMEND_NOT_ALLOWED"
    message = gettext_noop("Only limit orders in the book and orders that wait for a price can be changed.")


class AmendEmptyError(DomainError):
    """The amend changes nothing, or leaves nothing open."""

    code = 3017
    name = "AMEND_EMPTY"
    message = gettext_noop("Give a new price, stop price, or quantity above what has filled (%(filled)s).")


class AmendOvertakenError(DomainError):
    """A fill came before the amend; the order stays as it is."""

    code = 3018
    name = "AMEND_OVERTAKEN"
    status = 409
    message = gettext_noop("Order %(order_id)s was not amended: it changed first; %(filled)s of it has filled.")


class OrderSizeError(DomainError):
    """An order has one size: a quantity, or for a market buy that is ioc a quote amount."""

    code = 3019
    name = "ORDER_SIZE"
    message = gettext_noop(
        "An order takes a quantity; a market buy may take a quote_quantity instead, with time in force ioc."
    )


class TriggerByNotAllowedError(DomainError):
    """Only orders that wait for a price watch one."""

    code = 3022
    name = "TRIGGER_BY_NOT_ALLOWED"
    message = gettext_noop("trigger_by goes with stop, take-profit and trailing stop orders only.")


class MarkPriceUnknownError(DomainError):
    """The order would wait for a mark price, and the instrument has never had one."""

    code = 3023
    name = "MARK_PRICE_UNKNOWN"
    message = gettext_noop("%(symbol)s has no mark price yet; use trigger_by last.")


class ContractsOnlyError(DomainError):
    """The words size an order by a position; a spot market has none."""

    code = 3024
    name = "CONTRACTS_ONLY"
    message = gettext_noop("reduce_only and close_position go with contracts; %(symbol)s is a spot market.")


class OrderTriggeredError(DomainError):
    """The order has reached its stop price; there is nothing left to wait for."""

    code = 3025
    name = "ORDER_TRIGGERED"
    status = 409
    message = gettext_noop("Order %(order_id)s has been triggered; its stop_price cannot change any more.")


class AmendRefusedError(DomainError):
    """The engine refused the amend, `data.reason` says why; the order stays as it is."""

    code = 3026
    name = "AMEND_REFUSED"
    status = 409
    message = gettext_noop("Order %(order_id)s was not amended: %(reason)s.")


class NoPositionError(DomainError):
    """There is nothing to reduce or to close."""

    code = 3030
    name = "NO_POSITION"
    message = gettext_noop("There is no position in %(symbol)s that this order could reduce.")


class PositionLockedError(DomainError):
    """The position is being liquidated; its trader cannot move it."""

    code = 3031
    name = "POSITION_LOCKED"
    status = 409
    message = gettext_noop("Your position in %(symbol)s is locked while it is being liquidated.")


class PositionTooLargeError(DomainError):
    """The position would be worth more than its leverage allows."""

    code = 3032
    name = "POSITION_TOO_LARGE"
    message = gettext_noop(
        "With leverage %(leverage)s a position in %(symbol)s may be worth %(maximum)s; it could become %(value)s."
    )


class InDebtError(DomainError):
    """Whoever owes the exchange takes no new exposure; positions can be reduced."""

    code = 3033
    name = "IN_DEBT"
    message = gettext_noop("You owe %(debt)s %(asset)s; until it is repaid, orders can only reduce positions.")


class BeyondBankruptcyError(DomainError):
    """Closing at this price would lose more than the position's margin."""

    code = 3034
    name = "BEYOND_BANKRUPTCY"
    message = gettext_noop("Closing beyond %(bound)s would lose more than the margin of the position.")


class NotAContractError(DomainError):
    """Positions, leverage and margin are of contracts only."""

    code = 3035
    name = "NOT_A_CONTRACT"
    message = gettext_noop("%(symbol)s is a spot market; it has no leverage and no margin.")


class LeverageRangeError(DomainError):
    """The leverage is more than the contract allows, at all or for a position of that value."""

    code = 3036
    name = "LEVERAGE_RANGE"
    message = gettext_noop("The leverage in %(symbol)s must be between 1 and %(maximum)s here.")


class MarginTooSmallError(DomainError):
    """Taking out that much would leave the position with less than its initial margin at the mark price."""

    code = 3037
    name = "MARGIN_TOO_SMALL"
    message = gettext_noop("At most %(maximum)s %(asset)s can be taken out of the margin of %(symbol)s.")


class LeverageOrdersOpenError(DomainError):
    """Open orders hold funds at the leverage of now."""

    code = 3038
    name = "LEVERAGE_ORDERS_OPEN"
    status = 409
    message = gettext_noop("Cancel your open orders in %(symbol)s before you change the leverage.")


class QuoteSizeOnContractError(DomainError):
    """Contracts are ordered by quantity."""

    code = 3039
    name = "QUOTE_SIZE_ON_CONTRACT"
    message = gettext_noop("Orders in %(symbol)s take a quantity, not an amount.")


class ClosePositionError(DomainError):
    """An order that closes the whole position names no quantity and no price."""

    code = 3042
    name = "CLOSE_POSITION_TERMS"
    message = gettext_noop("close_position goes with orders at the market's price, without quantity and reduce_only.")


class MarginIdReusedError(DomainError):
    """The client's id was used for another change of margin."""

    code = 3043
    name = "MARGIN_ID_REUSED"
    status = 409
    message = gettext_noop("client_margin_id %(client_margin_id)s was used for another change of margin.")


class MarginGuardsOrdersError(DomainError):
    """An open order could close the position at a price that the margin, less that much, would not cover."""

    code = 3044
    name = "MARGIN_GUARDS_ORDERS"
    status = 409
    message = gettext_noop(
        "Order %(order_id)s could close %(symbol)s at %(price)s, which the rest of the margin would not cover;"
        " cancel it first."
    )


class PositionNotOpenError(DomainError):
    """Margin belongs to a position that is open."""

    code = 3045
    name = "POSITION_NOT_OPEN"
    message = gettext_noop("You have no open position in %(symbol)s.")
