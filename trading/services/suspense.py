"""Settles what the books refuse in part: nothing holds up the cursor, nothing is guessed, and people are told.

Note [Suspense]
    A batch that the database refuses is halved, by commands (`matching_worker/shard.py`). What is left is one command;
    here its events are settled as always, but for the entries that the books refuse, which are found by halving as
    well. A fill is a fact: its trade, its orders and holdings stand. What its entry would have moved does not: the
    wallets stay as they are, and what the traders owe each other goes to suspense (account 1190), in the part of each:
    of a spot match both assets, of one side of a contract its realised result, so that clearing is what positions cost.
    Of an entry that only gives back a hold, the hold stays where it is.

    In the same transaction the refused entry is kept (`SuspendedEntry`), a break says so and stops withdrawals, the
    traders concerned are frozen (no new orders, no withdrawals; cancels pass), and the instrument goes into
    cancel-only. `manage.py repost_suspended` posts what was refused once its cause is gone, and clears suspense.
    What is not the books' refusal (a table's own check, a broken assumption) stops the worker as before.

    Locks, beyond Note [Lock order]: the door is held while the rest is written, then instruments by id, then the
    stream's head. It is as slow as it is rare. A worker that is killed has done all of a command's or nothing.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

import structlog
from django.db import transaction

from exchange import database
from exchange.kernel.errors import require
from exchange.kernel.money import EXACT, plain
from ledger import posting_rules
from ledger.chart import AccountCode
from ledger.entries import AccountKey, EntryDraft
from ledger.posting_rules import EventKind
from ledger.reconciliation import alerts, runner
from ledger.reconciliation.checks import Finding
from ledger.reconciliation.models import RunKind
from ledger.services import accounts, breaks, debts, finance_log, journal
from ledger.services.breaks import Looked
from ledger.transfers import profiles
from marketdata import selectors as instruments
from marketdata.models import Instrument, InstrumentStatus
from marketdata.units import InstrumentSpec
from matching_worker.protocol import Rows
from trading.fold import TradeFact
from trading.models import PrivateChannel, SuspendedEntry, SuspendedState, Trade
from trading.reconciliation import suspended
from trading.services import private_events, settlement, trading_state, wallets
from trading.services.turnstile import Turnstile
from trading.wire import balance_fields

logger = structlog.get_logger(__name__)

REASON: Final = "suspense"
"""Why an account is frozen: staff read it with the break."""
REFUSAL_LENGTH_MAX: Final = 500

RELEASE_PARTS: Final = 2
"""What follows the sequence in the key of a release that names no order."""

STOPS_TRADING: Final = {InstrumentStatus.TRADING, InstrumentStatus.PRE_OPEN, InstrumentStatus.AUCTION}
"""States that cancel-only takes the place of; the others let nobody trade as it is."""


def settle(
    shard: int, epoch: int, commands: Rows, events: Rows, *, now: datetime, turnstile: Turnstile | None = None
) -> float:
    """Put one command's events into the books as far as these let them, and the rest into suspense: Note [Suspense].

    Args:
        commands: (1,) COMMAND_DTYPE.
        events: (m,) EVENT_DTYPE, all events of exactly this command.
        turnstile: Opened when this has its gates; the next settlement may be long in coming, so it stays open.

    Returns:
        For how many seconds the ledger's door was kept, at most.

    Raises:
        FencedError: The cursor stands elsewhere or the lease is another's; nothing was written.
    """
    require(len(commands) == 1, f"{len(commands)} commands can be cut further")
    settlement.prepare(events)
    with transaction.atomic():
        settlement.unhurried()
        folded = settlement.fold(shard, epoch, commands, events, now=now, turnstile=turnstile)
        refused: list[tuple[EntryDraft, str]] = []
        door_at = time.perf_counter()
        posted = _post(folded.outcome.entries, refused, now)
        folded.outcome.entries[:] = posted
        settlement.write(folded, [], shard=shard, now=now)
        _suspend(refused, folded, events, shard=shard, now=now)
        settlement.finish(folded, now)
    Instrument.revision += 1
    return time.perf_counter() - door_at


def _post(entries: Sequence[EntryDraft], refused: list[tuple[EntryDraft, str]], now: datetime) -> list[EntryDraft]:
    """Post entries in order; those that the books refuse are found by halving. Returns those that were posted."""
    if not entries:
        return []
    middle = len(entries) // 2
    if len(entries) > journal.ENTRIES_MAX:  # the sweep of a lifetime
        return _post(entries[:middle], refused, now) + _post(entries[middle:], refused, now)
    try:
        with transaction.atomic():
            journal.post(entries, now)
    except Exception as error:
        if not database.is_refusal(error):
            raise
        if len(entries) == 1:
            refused.append((entries[0], f"{type(error).__name__}: {error}"[:REFUSAL_LENGTH_MAX]))
            return []
        return _post(entries[:middle], refused, now) + _post(entries[middle:], refused, now)
    return list(entries)


def _suspend(
    refused: Sequence[tuple[EntryDraft, str]], folded: settlement.Folded, events: Rows, *, shard: int, now: datetime
) -> None:
    """Keep what was refused, tell people, freeze the traders and stop the instruments; the stream's head is last."""
    if not refused:
        return
    trades = {trade.id: trade for trade in folded.outcome.trades}
    specs = {draft.key: _instrument(draft.key, trades, folded, events) for draft, _ in refused}
    rows = [
        SuspendedEntry(
            key=draft.key,
            kind=str(draft.kind),
            effective_at=draft.effective_at,
            trace=draft.trace,
            lines=[[*key, plain(amount)] for key, amount in draft.lines],
            held=_held(draft),
            refusal=refusal,
            trade_id=_trade_id(draft.key),
            instrument_id=specs[draft.key].id,
            shard=shard,
            sequence=int(events[0]["sequence"]),
            created_at=now,
        )
        for draft, refusal in refused
    ]
    SuspendedEntry.objects.bulk_create(rows)
    made = Trade.objects.in_bulk([row.trade_id for row in rows if row.trade_id is not None], field_name="id")
    owed = [_owed(row, made[row.trade_id]) for row in rows if row.trade_id is not None]
    journal.post([draft for draft in owed if draft.lines], now)
    owners = sorted({key.owner_id for draft, _ in refused for key, _ in draft.lines if key.owner_id is not None})
    profiles.freeze(owners, reason=f"{REASON}: {', '.join(draft.key for draft, _ in refused[:5])}", now=now)
    _tell(rows, now)
    stopped = list({spec.id: spec for spec in specs.values()}.values())
    trading_state.change_within(stopped, InstrumentStatus.CANCEL_ONLY, now=now, only_from=STOPS_TRADING)


def _trade_id(key: str) -> int | None:
    """Return the trade of an entry's key, `trade:ID` or one side of a contract's, `trade:ID:SIDE...`; else None."""
    word, number, *_ = key.split(":")
    return int(number) if word == "trade" else None


def _instrument(key: str, trades: Mapping[int, TradeFact], folded: settlement.Folded, events: Rows) -> InstrumentSpec:
    """Return the instrument of a refused entry, which its key tells: one command may end orders of several."""
    word, number, *rest = key.split(":")  # order:ID:..., command:SEQUENCE:INDEX:..., command:SEQUENCE:INDEX:ID:amend
    if word == "trade":
        return trades[int(number)].spec
    if word == "order":
        order_id = int(number)
    elif len(rest) > RELEASE_PARTS:
        order_id = int(rest[1])
    else:
        [order_id] = (int(event["order_id"]) for event in events if int(event["index"]) == int(rest[0]))
    return folded.fold.orders[order_id].spec


def _held(draft: EntryDraft) -> list[list[Any]]:
    """Return what stays in order_hold wallets because a draft is not posted: owner, asset, amount."""
    return [
        [key.owner_id, key.asset, plain(amount.copy_negate())]
        for key, amount in draft.lines
        if key.code == AccountCode.ORDER_HOLD and amount < 0
    ]


def _owed(row: SuspendedEntry, trade: Trade, *, cleared: bool = False) -> EntryDraft:
    """Return the entry that says what the two sides of a match owe each other, or the one that takes it back.

    Of a contract it is one side's realised result, which clearing must have all the same; opening realises nothing.
    """
    spec = instruments.instrument_by_id(trade.instrument_id)
    if spec.is_contract:
        return _result_owed(row, spec.symbol, spec.quote, cleared=cleared)
    sides = [f"user:{trade.buyer_id}", f"user:{trade.seller_id}"]
    buyer, seller = reversed(sides) if cleared else sides
    return posting_rules.draft(
        EventKind.SUSPENSE_SPOT_FILL,
        key=f"{row.key}:{'cleared' if cleared else 'suspense'}",
        effective_at=row.effective_at,
        trace=row.trace,
        roles={},
        assets={"base": spec.base, "quote": spec.quote},
        amounts={"notional": trade.notional, "quantity": trade.quantity},
        parts={"buyer": buyer, "seller": seller},
    )


def _result_owed(row: SuspendedEntry, contract: str, asset: str, *, cleared: bool) -> EntryDraft:
    """Return the entry that puts a refused side's result into clearing, against suspense; or the one that undoes it."""
    result = sum((Decimal(line[4]) for line in row.lines if line[1] == AccountCode.CLEARING), Decimal(0))
    [owner_id] = {line[0] for line in row.lines if line[0] is not None}
    gain, loss = max(result, Decimal(0)), max(result.copy_negate(), Decimal(0))
    return posting_rules.draft(
        EventKind.SUSPENSE_FILL,
        key=f"{row.key}:{'cleared' if cleared else 'suspense'}",
        effective_at=row.effective_at,
        trace=row.trace,
        roles={},
        assets={"asset": asset},
        amounts={"profit": loss, "loss": gain} if cleared else {"profit": gain, "loss": loss},
        parts={"contract": contract, "suspense": f"user:{owner_id}"},
    )


def _tell(rows: Sequence[SuspendedEntry], now: datetime) -> None:
    """Write the breaks down and raise the alarm, in this transaction."""
    for row in rows:
        logger.critical("settlement_suspended", key=row.key, sequence=row.sequence, refusal=row.refusal)
    run = runner.start(RunKind.SETTLEMENT, now=now)
    findings: list[Finding] = [suspended.finding(row) for row in rows]
    recorded = breaks.record([Looked(suspended.CHECK, findings, set())], run, now=now)
    alerts.raise_for(recorded.opened, now=now)
    runner.finish(run, now=now)


# --- the way back ---------------------------------------------------------------------------------------------------
class Reposted(NamedTuple):
    """What became of a suspended entry.

    Args:
        refusal: Why the books refuse it still; empty when it was posted.
    """

    row: SuspendedEntry
    refusal: str


def repost(keys: Sequence[str], *, now: datetime) -> list[Reposted]:
    """Post suspended entries whose cause is gone, oldest first, and clear suspense; one refused holds up no other.

    Accounts stay frozen and instruments in cancel-only: people release them.

    Args:
        keys: Which; none is all that are open.
    """
    rows = SuspendedEntry.objects.filter(state=SuspendedState.OPEN).order_by("id")
    if keys:
        rows = rows.filter(key__in=keys)
    done = []
    for row in rows:
        try:
            with transaction.atomic():
                _repost(row, now)
        except Exception as error:
            if not database.is_refusal(error):
                raise
            done.append(Reposted(row, f"{type(error).__name__}: {error}"[:REFUSAL_LENGTH_MAX]))
        else:
            done.append(Reposted(row, ""))
    return done


def _repost(row: SuspendedEntry, now: datetime) -> None:
    """Post one entry as it was refused, but for debts, which are those of now."""
    lines = [
        (AccountKey(owner_id, AccountCode(code), asset, sub), Decimal(amount))
        for owner_id, code, asset, sub, amount in row.lines
    ]
    owners = {key.owner_id for key, _ in lines if key.owner_id is not None}
    accounts.lock(owners)
    locked = SuspendedEntry.objects.select_for_update().get(pk=row.pk)
    if locked.state != SuspendedState.OPEN:
        return
    owed = debts.owed(owners)
    entries = [
        EntryDraft(
            row.kind,
            row.key,
            row.effective_at,
            row.trace,
            [line for key, amount in _without_repayments(lines) for line in owed.first(key, amount)],
        )
    ]
    if row.trade_id is not None:
        owed_back = _owed(row, Trade.objects.get(id=row.trade_id), cleared=True)
        entries += [owed_back] if owed_back.lines else []
    owned, _debts = wallets.read({(key.owner_id, key.asset) for key, _ in lines if key.owner_id is not None})
    journal.post(entries, now)
    changed = wallets.follow(entries, owned)
    facts = [(pair[0], PrivateChannel.BALANCES, balance_fields(pair[1], owned[pair])) for pair in changed]
    private_events.push_on_commit(private_events.append(facts, now=now))
    row.state, row.posted_at = SuspendedState.POSTED, now
    row.save(update_fields=["state", "posted_at"])
    finance_log.record("suspense.repost", now=now, subject=row.key, detail={"refusal": row.refusal})


def _without_repayments(lines: Sequence[tuple[AccountKey, Decimal]]) -> list[tuple[AccountKey, Decimal]]:
    """Turn what a credit repaid of a debt back into the whole credit: Note [Debt first] in `ledger/waterfall.py`."""
    whole: list[tuple[AccountKey, Decimal]] = []
    repaid: dict[AccountKey, Decimal] = {}
    for key, amount in lines:
        credit = key._replace(code=AccountCode.AVAILABLE)
        if key.code == AccountCode.DEBT and amount > 0:
            repaid[credit] = EXACT.add(repaid.get(credit, Decimal(0)), amount)
            continue
        whole.append((key, EXACT.add(amount, repaid.pop(key, Decimal(0))) if amount > 0 else amount))
    return whole + list(repaid.items())
