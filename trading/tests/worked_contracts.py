"""Trades the worked examples of CONTRACTS.md down the whole road, and prints what they leave."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from django.db.models import Q

from exchange import database
from exchange.kernel.money import plain
from ledger import journal_text
from ledger.models import JournalEntry
from ledger.services import accounts
from ledger.services.accounts import AccountKey
from marketdata.models import InstrumentState
from risk import contract_margin
from trading.models import Order, OrderPart, Position, Trade
from trading.position_state import PositionState
from trading.reasons import STOLEN
from trading.services import contract_books
from trading.tests.contracts import SYMBOL, Desk, set_mark

PAGE: Final = Path(__file__).parent.parent / "CONTRACTS.md"
MOVES_HOLDS: Final = {"ORDER_FREEZE", "ORDER_UNFREEZE"}
_BLOCK = re.compile(r"^```(happens|shows)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ORDER = re.compile(r"(\w+) (buys|sells) (\d+) at (\d+)")


def blocks() -> Iterator[tuple[list[str], str]]:
    """Yield what happens, line by line, and what is then shown."""
    found = _BLOCK.findall(PAGE.read_text())
    for (first, lines), (second, text) in zip(found[::2], found[1::2], strict=True):
        assert (first, second) == ("happens", "shows")
        yield lines.splitlines(), text


def happen(at: Desk, people: Mapping[str, Any], line: str) -> None:
    """Do what a line says, and settle it."""
    if line.startswith("mark "):
        set_mark(line.removeprefix("mark "))
    else:
        matched = _ORDER.fullmatch(line)
        assert matched, line
        name, side, quantity, price = matched.groups()
        at.order(people[name], "buy" if side == "buys" else "sell", int(quantity), int(price))
    at.settle()


def shown(people: Mapping[str, Any], after: int) -> tuple[str, int]:
    """Print the entries after one, then positions, orders with what they reserve and hold, and the clearing account."""
    names = {owner.id: name for name, owner in people.items()}
    text: list[str] = []
    for entry in JournalEntry.objects.filter(id__gt=after).order_by("id"):
        after = entry.id
        if entry.kind in MOVES_HOLDS:
            [line] = entry.lines.filter(account__code="1020").select_related("account")
            text.append(
                f"{entry.kind} {_key(entry.key)}: {names[line.account.owner_id]} {plain(abs(line.amount))} USDT"
            )
            continue
        owners = {name: owner.id for name, owner in people.items()}
        text += [f"{entry.kind} {_key(entry.key)}", journal_text.printed(entry.id, owners).removeprefix("\n"), ""]
    if text and text[-1]:
        text.append("")
    return "\n".join([*text, *_positions(names), *_orders(names)]) + "\n", after


def _key(key: str) -> str:
    """Write a key with the number of its trade, or of its order, in place of the id."""
    kind, number, *rest = key.split(":")
    if kind == "trade":
        number = str(Trade.objects.get(id=int(number)).number)
    elif kind == "order":
        number = str(Order.objects.filter(id__lte=int(number)).count())
    return ":".join([kind, number, *rest])


def _positions(names: Mapping[int, str]) -> Iterator[str]:
    mark = InstrumentState.objects.get(instrument__symbol=SYMBOL).settled_mark
    assert mark is not None
    heads = ("quantity", "open cost", "entry", "margin", "reserved", "realised", f"at {plain(mark)}")
    yield f"{SYMBOL:<10}" + "".join(f"{head:>11}" for head in heads)
    totals = [Decimal(0)] * 4
    for row in Position.objects.filter(symbol=SYMBOL).order_by("user_id"):
        state = _state(row)
        profit = contract_margin.unrealised(
            lots=state.lots, cost=state.cost, mark_ticks=state.spec.price_to_ticks(mark), unit=state.spec.unit_quanta
        )
        unrealised = Decimal(profit).scaleb(-state.spec.quote_decimals)
        entry = plain(round(row.open_cost / row.quantity, 6)) if row.quantity else "-"
        figures = (row.quantity, row.open_cost, entry, row.margin, row.reserved, row.realised_pnl, unrealised)
        cells = "".join(f"{item if isinstance(item, str) else plain(item):>11}" for item in figures)
        yield f"{names[row.user_id]:<10}{cells}"
        for place, item in enumerate((row.quantity, row.open_cost, row.realised_pnl, unrealised)):
            totals[place] += item
    key = AccountKey(None, "2110", "USDT", SYMBOL)
    clearing = accounts.balances([key])[key]
    assert clearing == totals[1] == totals[2] == -totals[3]
    quantity, cost, *results = (plain(total) for total in totals)
    yield f"{'sum':<10}{quantity:>11}{cost:>11}{'':>33}{results[0]:>11}{results[1]:>11}"
    yield f"{'clearing':<10}{'':>11}{plain(clearing):>11}"


def _state(row: Position) -> PositionState:
    """Return a position as integers."""
    pairs = {(row.user_id, row.instrument_id)}
    [(positions, _, _)] = database.read(contract_books.reading(pairs))
    return positions[row.user_id, row.instrument_id]


def _orders(names: Mapping[int, str]) -> Iterator[str]:
    """Print open orders, and those that were robbed and ended, part by part."""
    parts = OrderPart.objects.filter(quantity__gt=0).order_by("order_id", "kind")
    by_order: dict[int, list[OrderPart]] = {}
    for part in parts:
        by_order.setdefault(part.order_id, []).append(part)
    for order in Order.objects.filter(Q(status__in=("new", "partial_filled")) | Q(reason=STOLEN)).order_by("id"):
        number = Order.objects.filter(id__lte=order.id).count()
        states = "; ".join(
            f"{part.kind} {plain(part.quantity_left)} of {plain(part.quantity)} {part.state},"
            f" holds {plain(part.funds_left)}"
            for part in by_order.get(order.id, ())
        )
        ended = f"{order.status}, {order.reason}; " if order.reason else ""
        yield f"order {number}, {names[order.user_id]} {order.side} at {plain(order.price)}: {ended}{states}"
