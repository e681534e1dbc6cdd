"""Why an order ended early, was rejected, or was not amended: permanent words, and what they mean.

Most are the engine's (`matching_worker.protocol.Reason`); the road adds those of what never reached the engine, and
tells owners from operators.
"""

from matching_worker.protocol import Reason

BY_OPERATOR = "OPERATOR"
STOLEN = "RESERVATION_STOLEN"
NEVER_LOGGED = "NEVER_LOGGED"
IN_DEBT = "IN_DEBT"

ENDED = {
    Reason.USER.name: "its owner cancelled it",
    BY_OPERATOR: "an operator of the exchange cancelled it",
    STOLEN: "another fill took away the position that it was to reduce, and the wallet did not cover a hold instead",
    IN_DEBT: "its owner owed the exchange something, and it would have opened or enlarged a position",
    Reason.IOC_REMAINDER.name: "what could not trade at once was cancelled",
    Reason.FOK_UNFILLED.name: "it could not trade whole at once",
    Reason.EXPIRED.name: "its time was over",
    Reason.REDUCED_TO_ZERO.name: "all that was open was taken off",
    Reason.SELF_TRADE.name: "it met an order of the same trader",
    Reason.BUDGET_SPENT.name: "its amount buys not one lot",
    Reason.WORST_PRICE.name: "going on would have cost more than its hold",
    Reason.REDUCE_ONLY.name: "there was no position left to reduce",
}
REJECTED = {
    "INSUFFICIENT_FUNDS": "the wallet did not cover its hold",
    "REFUSED_IN_REVIEW": "a person refused it",
    NEVER_LOGGED: "it never came to the engine, and what it held was given back",
    Reason.POST_ONLY_WOULD_TAKE.name: "it is post-only and would have traded at once",
    Reason.NOT_TRADING.name: "the instrument took no orders any more when the engine came to it",
    Reason.NOT_IN_AUCTION.name: "an order that cannot rest takes no part in an auction",
    Reason.TOO_MANY_OPEN_ORDERS.name: "the shard holds as many open orders as it can",
    Reason.TOO_MANY_TRAILING_STOPS.name: "the instrument holds as many trailing stops as it can",
    Reason.BAD_EXPIRY.name: "its end had passed when the engine came to it",
}
NOT_AMENDED = {
    Reason.ORDER_CHANGED.name: "a fill or a reduction came first",
    Reason.UNKNOWN_ORDER.name: "the order ended first",
    Reason.BAD_TRIGGER.name: "the order was triggered first",
    Reason.POST_ONLY_WOULD_TAKE.name: "it is post-only and would have traded at once",
    Reason.NOT_TRADING.name: "the instrument took no orders any more when the engine came to it",
}
"""The engine has further refusals; admission lets nothing through that would meet them."""


def listed(words: dict[str, str]) -> str:
    """Return words with their meanings as one text, for the API's document."""
    return "; ".join(f"{word}: {meaning}" for word, meaning in words.items())
