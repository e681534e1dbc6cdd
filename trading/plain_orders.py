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
from typing import Any, NamedTuple

import orjson

from exchange.api.serializers import is_amount
from exchange.kernel.money import plain
from exchange.observability.tracing import current_trace
from marketdata import selectors as instruments
from marketdata.units import InstrumentSpec
from trading.fields import CLIENT_ORDER_ID_PATTERN, SYMBOL_LENGTH_MAX
from trading.models import OrderType, SelfTradePrevention, Side, TimeInForce, TriggerBy
from trading.services import terms
from trading.services.requests import PlaceOrder

UNSAID = {"trigger_by": "last", "reduce_only": False, "close_position": False}
"""Words that an order has unless it says others."""

_SYMBOL = re.compile(rf"[A-Za-z0-9._:/-]{{1,{SYMBOL_LENGTH_MAX}}}")
_CLIENT_ORDER_ID = re.compile(CLIENT_ORDER_ID_PATTERN[1:-1])


class Numbers(NamedTuple):
    """Texts that were numbers of an instrument, and what they say: markets say the same few again and again."""

    spec: InstrumentSpec
    prices: dict[str, Decimal]
    quantities: dict[str, Decimal]


NUMBERS_MAX = 2_000
"""Prices, and quantities, of an instrument that are remembered."""
_numbers: dict[int, Numbers] = {}
"""By the instrument's id."""


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
    if not ("symbol" in data and "side" in data and "type" in data):
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
    known = _read_before(spec)
    values = {"time_in_force": terms.time_unsaid(attrs["type"]), **attrs}
    for name in ("quantity", "display_quantity"):
        if name in attrs:
            values[name] = _number(known.quantities, attrs[name], spec.parse_qty, spec.qty_to_lots)
    if "quote_quantity" in attrs:
        values["quote_quantity"] = spec.parse_quote(attrs["quote_quantity"])
    if "callback_rate" in attrs:
        values["callback_rate"] = Decimal(attrs["callback_rate"])
    for name in ("price", "stop_price", "activation_price"):
        if name in attrs:
            values[name] = _number(known.prices, attrs[name], spec.parse_price, spec.price_to_ticks)
    return values


def _read_before(spec: InstrumentSpec) -> Numbers:
    """Return the numbers of an instrument as it is now: one that has changed is another object."""
    found = _numbers.get(spec.id)
    if found is None or found.spec is not spec:
        found = _numbers[spec.id] = Numbers(spec, {}, {})
    return found


def _number(
    known: dict[str, Decimal], value: Any, parse: Callable[[Any], Decimal], check: Callable[[Decimal], int]
) -> Decimal:
    """Read a number that the instrument takes; one of those that it took before is only looked up."""
    found = known.get(value) if type(value) is str else None
    if found is None:
        found = parse(value)
        check(found)
        if type(value) is str:
            if len(known) >= NUMBERS_MAX:
                known.clear()
            known[value] = found
    return found


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
