"""The check of the command log against trades against journal: what a shadow engine makes of the log must be stored.

R7: each match of the log has exactly its entries, and recomputing their lines from log and balances gives the stored
lines. A look goes on from the engine that this process keeps; a process that has none follows the log from its
beginning, as many commands a round as one look covers, before it compares anything new.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from exchange import database
from exchange.kernel.errors import InvariantViolationError, gettext_noop
from exchange.kernel.money import plain
from ledger import posting_rules
from ledger.chart import AccountCode
from ledger.entries import AccountKey
from ledger.reconciliation.checks import FINDINGS_MAX, ONLY_FULL, Check, Finding, Progress, Scope, Seen, Severity
from ledger.reconciliation.sql import line_before
from ledger.waterfall import Debts
from marketdata import selectors as instruments
from matching_worker.protocol import EPOCH_MAX
from trading.models import FINAL_STATUSES, SuspendedEntry
from trading.reconciliation import contracts
from trading.reconciliation.contracts import ExpectedSide, Pair
from trading.reconciliation.shadow import EPOCH_STEP, Expected, ExpectedEntry, ExpectedTrade, Shadow

NAME: Final = "log.replay"
COMMANDS_MAX: Final = 20_000
"""Commands of one shard that one look follows."""
LOOK_SECONDS_MAX: Final = 2.0
"""How long one look follows them at most."""

_SHARDS: Final = """
SELECT s.shard, s.epoch, c.sequence, c.state_hash
FROM command_stream s JOIN settlement_cursor c USING (shard) ORDER BY s.shard
"""
_TRADES: Final = """
SELECT id, instrument_id, number, buy_order_id, sell_order_id, price, quantity FROM trades
WHERE id = ANY(%s) AND shard = %s
"""
_LINES: Final = """
SELECT e.id, e.key, e.kind, a.owner_id, a.code, a.asset, a.sub, l.amount
FROM ledger_entry e JOIN ledger_line l ON l.entry_id = e.id JOIN ledger_account a ON a.id = l.account_id
WHERE e.key = ANY(%s) ORDER BY e.id, l.n
"""
_DEBTS: Final = f"""
SELECT w.entry_id, w.owner_id, w.asset, -l.balance_after
FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS w (entry_id, owner_id, asset)
JOIN ledger_account a ON a.owner_id = w.owner_id AND a.code = '2010' AND a.asset = w.asset AND a.sub = ''
CROSS JOIN LATERAL ({line_before("a.id, w.entry_id, 0")}) l
WHERE l.account_id = a.id AND l.balance_after <> 0
"""
_OPEN: Final = """
SELECT o.id, o.status FROM orders o
JOIN marketdata_instrument i ON i.id = o.instrument_id JOIN command_stream s ON s.shard = i.shard
WHERE i.shard = %s AND o.status IN ('new', 'partial_filled', 'untriggered') AND s.sequence = %s ORDER BY o.id
"""
_POSITIONS: Final = """
SELECT w.u, w.i, coalesce(p.quantity, 0), coalesce(p.open_cost, 0)
FROM unnest(%s::bigint[], %s::smallint[]) AS w (u, i) LEFT JOIN positions p ON p.user_id = w.u AND p.instrument_id = w.i
"""
_ORDERS: Final = """
SELECT id, instrument_id, quantity - filled_quantity, hold_remaining - amend_hold, fee, status FROM orders
WHERE id = ANY(%s)
"""

Line = tuple[int | None, str, str, str, Decimal]
"""Owner, code, asset, part, amount."""


class _Stored:
    """The stored entries of some keys, and what their owners owed before them."""

    def __init__(self, entries: Sequence[tuple[str, ExpectedEntry | ExpectedSide | None]]) -> None:
        """Read them. Two statements.

        Args:
            entries: Keys, with the expected entry where its lines must be worked out.
        """
        [rows] = database.fetch((_LINES, ([key for key, _ in entries],)))
        self.kinds: dict[str, str] = {}
        self.ids: dict[str, int] = {}
        self.lines: dict[str, list[Line]] = {}
        for entry_id, key, kind, *line in rows:
            self.ids[key], self.kinds[key] = entry_id, kind
            self.lines.setdefault(key, []).append((line[0], line[1], line[2], line[3], line[4]))
        wanted = [
            (self.ids[key], user_id, asset)
            for key, entry in entries
            if entry is not None and key in self.ids
            for user_id in set(entry.roles.values())
            for asset in set(entry.assets.values())
        ]
        self._owed: dict[int, list[tuple[int, str, Decimal]]] = {}
        [rows] = database.fetch((_DEBTS, database.columns(wanted, 3)))
        for entry_id, owner_id, asset, owed in rows:
            self._owed.setdefault(entry_id, []).append((owner_id, asset, owed))

    def debts(self, key: str) -> Debts:
        """Return what the owners of an entry owed before it."""
        return Debts(self._owed.get(self.ids.get(key, 0), ()))


def _compare_trades(made: Iterable[ExpectedTrade], shard: int, epoch: int) -> tuple[list[Finding], dict[int, int]]:
    """Compare matches with stored trades; return what differs, and the stored id of each match.

    A trade keeps the epoch in which it was settled; the replay gives all of them the log's epoch of now.
    """
    expected = list(made)
    if not expected:
        return [], {}
    ids = [trade.shard_number + number * EPOCH_STEP for trade in expected for number in range(epoch + 1)]
    [rows] = database.fetch((_TRADES, (ids, shard)))
    stored = {row[0] % EPOCH_STEP: row for row in rows}
    found = []
    for trade in expected:
        row = stored.get(trade.shard_number)
        if row is not None and row[1:] == trade[1:]:
            continue
        figures = {"number": trade.number, "made": _told(trade[1:]), "stored": _told(row[1:]) if row else "-"}
        place = {"shard": shard, "trade": [*trade[:5], plain(trade.price), plain(trade.quantity)]}
        subject = f"match {trade.number} of instrument {trade.instrument_id}"
        found.append(Finding(subject, "trade", figures, place=place))
    return found, {number: row[0] for number, row in stored.items()}


def _told(facts: Iterable[Any]) -> str:
    """Write the facts of a match in one line: instrument, number, buyer's and seller's order, price, quantity."""
    return " ".join(plain(Decimal(fact)) for fact in facts)


def _compare_entries(expected: Iterable[ExpectedEntry], trade_ids: dict[int, int]) -> list[Finding]:
    """Work out the lines of expected entries, and compare them with the stored ones."""
    keyed = [
        (entry.key if entry.trade is None else f"trade:{trade_ids[entry.trade]}", entry)
        for entry in expected
        if entry.trade is None or entry.trade in trade_ids
    ]
    if not keyed:
        return []
    freezes: list[tuple[str, ExpectedEntry | None]] = [(entry.amended, None) for _, entry in keyed if entry.amended]
    stored = _Stored([*keyed, *freezes])
    found = []
    for key, entry in keyed:
        for _, code, _, _, amount in stored.lines.get(entry.amended, ()):
            if code == "1020":
                entry.amounts["amount"] += amount
        lines = _lines(entry, key, stored)
        if lines or key in stored.ids:
            found += _differs(key, entry.kind, lines, stored)
    return found


def _compare_sides(expected: Iterable[ExpectedSide], trade_ids: dict[int, int]) -> list[Finding]:
    """Work out the lines of contracts' entries from the balances before them, and compare them with the stored ones."""
    keyed = [(f"trade:{trade_ids[side.trade]}{side.suffix}", side) for side in expected if side.trade in trade_ids]
    if not keyed:
        return []
    stored = _Stored(keyed)
    before = contracts.wallets_before(
        (stored.ids[key], side.user_id, side.spec.quote, side.spec.symbol) for key, side in keyed if key in stored.ids
    )
    # What was suspended is posted later, as it was refused then: the balances before it say nothing of its lines.
    refused = set(SuspendedEntry.objects.filter(key__in=[key for key, _ in keyed]).values_list("key", flat=True))
    found = []
    for key, side in keyed:
        if key in refused and key in stored.ids:
            continue
        kind = side.kind(stored.kinds.get(key))
        if key not in stored.ids:
            found.append(Finding(f"entry of {key}", "no_entry", {"key": key, "kind": str(kind)}, place=ONLY_FULL))
            continue
        share = -sum((line[4] for line in stored.lines[key] if line[1] == AccountCode.ORDER_HOLD), Decimal(0))
        amounts = side.amounts(
            hold_share=max(share, Decimal(0)),
            available=before.get((stored.ids[key], AccountCode.AVAILABLE), Decimal(0)),
            margin=before.get((stored.ids[key], AccountCode.MARGIN), Decimal(0)),
        )
        entry = ExpectedEntry(kind, key, side.roles, side.assets, amounts, side.at)
        found += _differs(key, kind, _lines(entry, key, stored, {"contract": side.spec.symbol}), stored)
    return found


def _compare_positions(shadow: Shadow, moved: set[Pair]) -> list[Finding]:
    """Compare the positions that were moved with their rows; shadow and books stand at the same command."""
    here = {pair for pair in moved & set(shadow.positions) if _is_at_home(pair[1], shadow.shard)}
    if not here:
        return []
    [rows] = database.fetch((_POSITIONS, database.columns(sorted(here), 2)))
    found = []
    for user_id, instrument_id, quantity, cost in rows:
        spec = instruments.instrument_by_id(instrument_id)
        made = shadow.positions[user_id, instrument_id]
        expected = spec.lots_to_qty(made.lots), contracts.amount(spec, made.cost)
        if (quantity, cost) != expected:
            figures = {
                "user": user_id,
                "symbol": spec.symbol,
                "quantity": plain(quantity),
                "cost": plain(cost),
                "log_quantity": plain(expected[0]),
                "log_cost": plain(expected[1]),
            }
            found.append(Finding(f"user {user_id}, {spec.symbol}", "position", figures, place=ONLY_FULL))
    return found


def _is_at_home(instrument_id: int, shard: int) -> bool:
    """Tell whether an instrument is on a shard; where it has moved away, the log does not tell of its positions."""
    return instruments.instrument_by_id(instrument_id).shard == shard


def _lines(
    entry: ExpectedEntry, key: str, stored: _Stored, account_parts: Mapping[str, str] | None = None
) -> list[Line]:
    """Return an entry's lines as its rule makes them; none where its amounts are not possible."""
    try:
        made = posting_rules.draft(
            entry.kind,
            key=key,
            effective_at=entry.at,
            trace="",
            roles=entry.roles,
            assets=entry.assets,
            amounts=entry.amounts,
            parts=account_parts or {},
            debts=stored.debts(key),
        )
    except InvariantViolationError:
        return []
    return [_line(account, amount) for account, amount in made.lines if amount]


def _line(account: AccountKey, amount: Decimal) -> Line:
    return (account.owner_id, str(account.code), account.asset, account.sub, amount)


def _differs(key: str, kind: str, lines: list[Line], stored: _Stored) -> list[Finding]:
    """Compare one entry."""
    place = {"key": key, "kind": str(kind), "lines": [[*line[:4], plain(line[4])] for line in lines]}
    if key not in stored.ids:
        return [Finding(f"entry of {key}", "no_entry", {"key": key, "kind": str(kind)}, place=place)]
    if stored.kinds[key] == kind and stored.lines[key] == lines:
        return []
    figures = {
        "key": key,
        "entry": stored.ids[key],
        "stored": f"{stored.kinds[key]} {_written(stored.lines[key])}",
        "expected": f"{kind} {_written(lines)}",
    }
    return [Finding(f"entry of {key}", "lines", figures, place=place)]


def _written(lines: Iterable[Line]) -> str:
    """Write lines in one line of text: owner, account, amount."""
    return "; ".join(
        f"{'platform' if owner is None else owner} {code} {asset}{'/' + sub if sub else ''} {plain(amount)}"
        for owner, code, asset, sub, amount in lines
    )


def _compare_orders(shadow: Shadow, touched: set[int]) -> list[Finding]:
    """Compare the orders that were touched last with their rows; shadow and books stand at the same command."""
    if not touched:
        return []
    [rows] = database.fetch((_ORDERS, (sorted(touched),)))
    found = []
    for order_id, _, left, hold, fee, status in rows:
        terms = shadow.orders.get(order_id)
        if terms is None:
            agrees = status in FINAL_STATUSES and not hold
            expected = "-"
        else:
            left_then = left if terms.given or left is None else terms.spec.lots_to_qty(terms.left_lots)
            hold_then = hold if terms.spec.is_contract else terms.hold_amount
            agrees = (left, hold, fee) == (left_then, hold_then, terms.fee_amount) and status not in FINAL_STATUSES
            expected = _order_told("open", left_then, hold_then, terms.fee_amount)
        if not agrees:
            figures = {
                "order": order_id,
                "stored": _order_told(status, left, hold, fee),
                "expected": expected,
            }
            found.append(Finding(f"order {order_id}", "order", figures, place=ONLY_FULL))
    return found


def _order_told(status: str, left: Decimal | None, hold: Decimal, fee: Decimal) -> str:
    """Write an order in one line: status, what is left (nothing for a buy by amount), its hold, what was charged."""
    return f"{status} {'-' if left is None else plain(left)} {plain(hold)} {plain(fee)}"


def _compare_hash(shadow: Shadow, settled: int, state_hash: int) -> list[Finding]:
    """Compare the engine's hash with the one that was stored at the settlement cursor."""
    if not settled or shadow.sequence != settled or shadow.engine.state_hash == state_hash:
        return []
    figures = {
        "shard": shadow.shard,
        "sequence": settled,
        "hash": f"{shadow.engine.state_hash:016x}",
        "stored": f"{state_hash:016x}",
    }
    return [Finding(f"shard {shadow.shard}", "hash", figures, place=ONLY_FULL)]


def _compare(shadow: Shadow, expected: Expected) -> list[Finding]:
    """Compare what a batch of commands must have led to. Statements: 4, and 4 more for contracts."""
    found, trade_ids = _compare_trades(expected.trades, shadow.shard, shadow.engine.epoch)
    return found + _compare_entries(expected.entries, trade_ids) + _compare_sides(expected.sides, trade_ids)


# --- looks --------------------------------------------------------------------------------------------------------
def _look(scope: Scope) -> Seen:
    """Follow each shard's log as far as it is settled, and compare what lies beyond the mark."""
    marks: dict[str, int] = scope.position.get("shards", {})
    [shards] = database.fetch((_SHARDS, ()))
    found = _again(scope)
    moved: dict[str, int] = {}
    items = behind = 0
    for shard, epoch, settled, state_hash in shards:
        mark = min(marks.get(str(shard), 0), settled)
        shadow = _shadow(scope.memory, shard, epoch, mark)
        seen = _follow(shadow, mark, settled, int(state_hash))
        found += seen
        moved[str(shard)] = max(mark, shadow.sequence)
        items += moved[str(shard)] - mark
        behind += settled - shadow.sequence
    return Seen(found[: FINDINGS_MAX + 1], {"shards": moved}, items, behind)


def _shadow(memory: dict[str, Any], shard: int, epoch: int, mark: int) -> Shadow:
    """Return this process's shadow of a shard, or a new one: where there is none, or where it is beyond the mark."""
    kept: Shadow | None = memory.get(str(shard))
    if kept is None or kept.engine.epoch != epoch or kept.sequence > mark:
        kept = Shadow(shard, epoch)
    memory[str(shard)] = kept
    return kept


def _follow(shadow: Shadow, mark: int, settled: int, state_hash: int) -> list[Finding]:
    """Follow the log for a while; what lies before the mark was compared already."""
    found: list[Finding] = []
    deadline = time.monotonic() + LOOK_SECONDS_MAX
    stop = min(settled, shadow.sequence + COMMANDS_MAX)
    touched: set[int] = set()
    moved: set[Pair] = set()
    while shadow.sequence < stop and time.monotonic() < deadline:
        is_known = shadow.sequence < mark
        expected = shadow.follow(min(stop, mark) if is_known else stop)
        if expected is None:
            break
        touched |= expected.touched
        moved |= expected.moved
        if not is_known:
            found += _compare(shadow, expected)
    if shadow.sequence == settled:
        found += _compare_orders(shadow, touched) + _compare_hash(shadow, settled, state_hash)
        found += _compare_positions(shadow, moved)
    return found


def _again(scope: Scope) -> list[Finding]:
    """Compare once more what did not agree, with what the log, which never changes, made expected then."""
    places = [place for place in scope.again if isinstance(place, dict)]
    found: list[Finding] = []
    for shard in sorted({place["shard"] for place in places if "trade" in place}):
        made = [_trade_of(place["trade"]) for place in places if place.get("shard") == shard]
        found += _compare_trades(made, shard, EPOCH_MAX)[0]
    keyed = [place for place in places if "key" in place]
    if keyed:
        stored = _Stored([(place["key"], None) for place in keyed])
        for place in keyed:
            lines = [(line[0], line[1], line[2], line[3], Decimal(line[4])) for line in place["lines"]]
            found += _differs(place["key"], place["kind"], lines, stored)
    return found


def _trade_of(facts: Sequence[Any]) -> ExpectedTrade:
    shard_number, instrument_id, number, buy_order_id, sell_order_id, price, quantity = facts
    return ExpectedTrade(
        shard_number, instrument_id, number, buy_order_id, sell_order_id, Decimal(price), Decimal(quantity)
    )


def _full(progress: Progress) -> Seen:
    """Follow every log from its beginning, and compare everything with what is stored."""
    [shards] = database.fetch((_SHARDS, ()))
    total = sum(settled for _, _, settled, _ in shards)
    done = 0
    found: list[Finding] = []
    for shard, epoch, settled, state_hash in shards:
        shadow = Shadow(shard, epoch)
        touched: set[int] = set()
        while shadow.sequence < settled and (expected := shadow.follow(settled)) is not None:
            touched = expected.touched
            found += _compare(shadow, expected)[: FINDINGS_MAX + 1 - len(found)]
            progress(done + shadow.sequence, total)
        found += _compare_orders(shadow, touched | set(shadow.orders)) + _compare_hash(shadow, settled, int(state_hash))
        found += _compare_open(shadow) + _compare_positions(shadow, set(shadow.positions))
        done += settled
    return Seen(found, {}, total)


def _compare_open(shadow: Shadow) -> list[Finding]:
    """Compare the open orders of the books with those of the engine, unless some are still on their way in the log."""
    [rows] = database.fetch((_OPEN, (shadow.shard, shadow.sequence)))
    return [
        Finding(f"order {row[0]}", "order", {"order": row[0], "stored": row[1], "expected": "-"}, place=ONLY_FULL)
        for row in rows
        if shadow.engine.order(row[0]) is None
    ]


CHECKS: Final = (
    Check(
        name=NAME,
        compares=gettext_noop(
            "The command log against trades against journal: an engine of its own follows the log; its matches, their"
            " entries and lines, orders and state hash are those that are stored."
        ),
        causes={
            "trade": gettext_noop("The log makes match %(number)s: %(made)s. Stored is: %(stored)s."),
            "no_entry": gettext_noop("The log makes an entry %(kind)s of %(key)s, and there is none."),
            "lines": gettext_noop("Entry %(entry)s of %(key)s is %(stored)s. The log makes it %(expected)s."),
            "order": gettext_noop("Order %(order)s is %(stored)s. The log makes it %(expected)s."),
            "position": gettext_noop(
                "The position of user %(user)s in %(symbol)s is %(quantity)s at a cost of %(cost)s. The log makes it"
                " %(log_quantity)s at %(log_cost)s."
            ),
            "hash": gettext_noop(
                "Shard %(shard)s was settled at command %(sequence)s with hash %(stored)s; the log gives %(hash)s."
            ),
        },
        look=_look,
        full=_full,
        equation="R7",
        severity=Severity.STOP,
    ),
)
