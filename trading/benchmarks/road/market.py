"""Makes what is traded and who trades: spot markets, perpetual contracts, and users with funds and limits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from django.db import transaction

from exchange import database
from exchange.kernel.clock import to_ns, utc_now
from exchange.kernel.ids import trace_id
from ledger import posting_rules
from ledger.models import Asset, AssetKind
from ledger.services import accounts, journal, transfers
from marketdata.models import Instrument, InstrumentKind, InstrumentStatus, LeverageBracket
from trading.services import mark_price, trading_state
from trading.services.mark_price import MarkPrice

QUOTE: Final = "USDT"
QUOTE_DECIMALS, BASE_DECIMALS = 6, 8
PRICE: Final = Decimal(100)
TICK, LOT = Decimal("0.01"), Decimal("0.1")
FUNDS, UNITS = Decimal(10) ** 9, Decimal(10) ** 7
TIER: Final = "MARKET_MAKER"
CHUNK: Final = 5_000
BRACKETS: Final = (
    (Decimal(0), 100, Decimal("0.005"), Decimal(0)),
    (Decimal(100_000), 50, Decimal("0.01"), Decimal(500)),
    (Decimal(1_000_000), 20, Decimal("0.025"), Decimal(15_500)),
)
"""Of every contract: value from which it counts, leverage at most, maintenance rate and amount."""


_USERS: Final = """
INSERT INTO users_user (username, password, is_demo, is_active, is_staff, is_superuser, first_name, last_name, email,
    language, date_joined)
SELECT 'road-' || to_char(number, 'FM000000'), '!', true, true, false, false, '', '', '', '', %s
FROM generate_series(0, %s - 1) AS number RETURNING id
"""
_PROFILES: Final = """
INSERT INTO risk_traderprofile (user_id, tier_id, counted_on, orders_placed, orders_cancelled)
SELECT id, %s, %s, 0, 0 FROM unnest(%s::bigint[]) AS id
"""


@dataclass(frozen=True, slots=True)
class Market:
    """What a run trades.

    Attributes:
        owners: Ids of the users. On spot markets each trades one, that of its place in the list: its units are there.
        spots: Symbols of the spot markets.
        contracts: Symbols of the perpetual contracts; everybody trades all of them.
    """

    owners: Sequence[int]
    spots: Sequence[str]
    contracts: Sequence[str]


def prepare(users: int, instruments: int, told: Callable[[int], None]) -> Market:
    """Make the markets, half of them contracts, and the users.

    Args:
        told: Called with the number of users that have become ready.
    """
    spots = max(1, instruments - instruments // 2)
    bases = [_asset(f"B{number}", BASE_DECIMALS) for number in range(spots)]
    _asset(QUOTE, QUOTE_DECIMALS)
    market = Market(
        _users(users),
        [_spot(base) for base in bases],
        [_contract(f"B{number}-PERP", bases[number % spots]) for number in range(instruments // 2)],
    )
    for start in range(0, users, CHUNK):
        owners = market.owners[start : start + CHUNK]
        _fund(owners, start, [base.code for base in bases])
        told(len(owners))
    return market


def _asset(code: str, decimals: int) -> Asset:
    """Return an asset, made if it is missing."""
    defaults = {"name": code, "decimals": decimals, "kind": AssetKind.CRYPTO}
    return Asset.objects.get_or_create(code=code, defaults=defaults)[0]


def _instrument(symbol: str, base: Asset, kind: InstrumentKind, status: InstrumentStatus) -> Instrument:
    """Make an instrument; the limits of price and value are those of every market."""
    return Instrument.objects.create(
        symbol=symbol,
        name=symbol,
        kind=kind,
        base=base,
        quote_id=QUOTE,
        tick_size=TICK,
        lot_size=LOT,
        min_notional=Decimal(5),
        reference_price=PRICE,
        status=status,
    )


def _spot(base: Asset) -> str:
    """Make a spot market."""
    return _instrument(f"{base.code}{QUOTE}", base, InstrumentKind.SPOT, InstrumentStatus.TRADING).symbol


def _contract(symbol: str, base: Asset) -> str:
    """Make a perpetual contract, open and marked."""
    row = _instrument(symbol, base, InstrumentKind.PERPETUAL, InstrumentStatus.CLOSED)
    for floor, leverage, rate, amount in BRACKETS:
        LeverageBracket.objects.create(
            instrument=row,
            notional_floor=floor,
            leverage_max=leverage,
            maintenance_rate=rate,
            maintenance_amount=amount,
        )
    trading_state.change(symbol, InstrumentStatus.TRADING, now=utc_now())
    mark_price.publish([MarkPrice(symbol, PRICE)], now=utc_now())
    return symbol


def _users(count: int) -> list[int]:
    """Make users who cannot sign in with a password. One statement: a hundred thousand take seconds."""
    [rows] = database.fetch((_USERS, (utc_now(), count)))
    return [row[0] for row in rows]


def _fund(owners: Sequence[int], first: int, bases: Sequence[str]) -> None:
    """Give users gates, a tier whose daily limit they will not reach, and money and units by entries of the books."""
    now = utc_now()
    accounts.open_gates(owners)
    database.execute(_PROFILES, TIER, now.date(), list(owners))
    trace = trace_id(to_ns(now))
    entries = [
        posting_rules.draft(
            posting_rules.EventKind.DEPOSIT,
            key=f"road:{owner}:{asset}",
            effective_at=now,
            trace=trace,
            roles={"user": owner},
            assets={"asset": asset},
            amounts={"amount": amount},
            parts={"custody": transfers.DEFAULT_CUSTODY},
        )
        for number, owner in enumerate(owners, first)
        for asset, amount in ((QUOTE, FUNDS), (bases[number % len(bases)], UNITS))
    ]
    with transaction.atomic():
        accounts.lock(owners)
        journal.post(entries, now)
