"""New orders as the services take them, and a short way there for those whose every word is in its plain form.

Note [Plain orders]
    Checking an order by its serializer takes as long as deciding it: the serializer asks each of its eighteen fields,
    by a dozen calls each, and nearly every order is a handful of words in their plain form. `read` recognises such an
    order by one look at each word that it has. It never refuses: what it does not recognise, for whatever reason, goes
    to `trading.serializers.OrderRequest`, which knows what to say. What it takes, the serializer takes with the same
    outcome; a property test holds the one against the other.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import orjson

from exchange.api.serializers import is_amount
from exchange.kernel.money import plain
from exchange.observability.tracing import current_trace
from marketdata import selectors as instruments
from trading.fields import CLIENT_ORDER_ID_PATTERN, SYMBOL_LENGTH_MAX
from trading.models import OrderType, SelfTradePrevention, Side, TimeInForce, TriggerBy
from trading.services import terms
from trading.services.requests import PlaceOrder

UNSAID = {"trigger_by": "last", "reduce_only": False, "close_position": False}
"""Words that an order has unless it says others."""

_SYMBOL = re.compile(rf"[A-Za-z0-9._:/-]{{1,{SYMBOL_LENGTH_MAX}}}")
_CLIENT_ORDER_ID = re.compile(CLIENT_ORDER_ID_PATTERN[1:-1])


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    """Return what tells whether a value is text of a form."""
    return lambda value: type(value) is str and pattern.fullmatch(value) is not None


def _one_of(words: list[str]) -> Callable[[Any], bool]:
    """Return what tells whether a value is one of some words."""
    known = frozenset(map(str, words))
    return lambda value: type(value) is str and value in known


def _is_flag(value: Any) -> bool:
    """Tell whether a value is true or false."""
    return type(value) is bool


_PLAIN: dict[str, Callable[[Any], bool]] = {
    "symbol": _matches(_SYMBOL),
    "side": _one_of(Side.values),
    "type": _one_of(OrderType.values),
    "quantity": is_amount,
    "quote_quantity": is_amount,
    "price": is_amount,
    "stop_price": is_amount,
    "trigger_by": _one_of(TriggerBy.values),
    "time_in_force": _one_of(TimeInForce.values),
    "post_only": _is_flag,
    "display_quantity": is_amount,
    "activation_price": is_amount,
    "reduce_only": _is_flag,
    "close_position": _is_flag,
    "self_trade_prevention": _one_of(SelfTradePrevention.values),
    "client_order_id": _matches(_CLIENT_ORDER_ID),
}
"""By word, whether a value is in its plain form. Words that are not here are left to the serializer."""

_NEEDED = ("symbol", "side", "type")


def read(data: Any) -> PlaceOrder | None:
    """Return a plain order as the services take it; None for any other, right or wrong: Note [Plain orders].

    Raises:
        DomainError: As for `with_numbers`.
    """
    if type(data) is not dict:
        return None
    for name, value in data.items():
        is_plain = _PLAIN.get(name)
        if is_plain is None or not is_plain(value):
            return None
    if not all(name in data for name in _NEEDED):
        return None
    if not ("quantity" in data or "quote_quantity" in data or data.get("close_position") is True):
        return None
    return order(with_numbers(data))


def with_numbers(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words of an order with its numbers read as the instrument writes them.

    Raises:
        DomainError: There is no such instrument, or a number is not in its form or range.
    """
    spec = instruments.instrument(attrs["symbol"])
    values = {"time_in_force": str(terms.times_allowed(attrs["type"])[0]), **attrs}
    for name in ("quantity", "display_quantity"):
        if name in attrs:
            values[name] = spec.parse_qty(attrs[name])
            spec.qty_to_lots(values[name])
    if "quote_quantity" in attrs:
        values["quote_quantity"] = spec.parse_quote(attrs["quote_quantity"])
    if "callback_rate" in attrs:
        values["callback_rate"] = Decimal(attrs["callback_rate"])
    for name in ("price", "stop_price", "activation_price"):
        if name in attrs:
            values[name] = spec.parse_price(attrs[name])
            spec.price_to_ticks(values[name])
    return values


def order(validated: Mapping[str, Any]) -> PlaceOrder:
    """Return a validated request as the services take it."""
    values = dict(validated)
    client_order_id = values.pop("client_order_id", None)
    return PlaceOrder(
        **values,
        client_order_id=client_order_id,
        body_hash=b"" if client_order_id is None else _hash(values),
        trace=current_trace(),
    )


def _hash(values: Mapping[str, Any]) -> bytes:
    """Return the hash of what a retry by `client_order_id` must repeat.

    Saying what goes without saying makes no other order: UNSAID is not part of it.
    """
    canonical = {
        name: plain(value) if isinstance(value, Decimal) else str(value)
        for name, value in values.items()
        if UNSAID.get(name) != value
    }
    return hashlib.sha256(orjson.dumps(canonical, option=orjson.OPT_SORT_KEYS)).digest()
