"""What the demo consists of: assets, instruments, people and their funds. Data only."""

from decimal import Decimal
from typing import NamedTuple

from ledger.access import Role
from ledger.transfers.models import CustodyKind, Network

DEMO_PASSWORD = "let-me-trade-2330"  # noqa: S105 -- shown to everyone; demo users can sign in with DEMO on only
MAKER_TIER = "MARKET_MAKER"
MAKER_ORDERS_PER_DAY = 2_000_000


class DemoAsset(NamedTuple):
    """Something that can be owned; `kind` is a `ledger.models.AssetKind`."""

    code: str
    name: str
    decimals: int
    kind: str


class DemoBracket(NamedTuple):
    """What a contract asks of positions worth `notional_floor` or more: `marketdata.models.LeverageBracket`."""

    notional_floor: Decimal
    leverage_max: int
    maintenance_rate: Decimal
    maintenance_amount: Decimal


class DemoInstrument(NamedTuple):
    """A spot market, or with brackets a perpetual contract.

    Fees, band, slippage and contract size keep the model's defaults: 0.02 %, 20 %, 5 %, 1. The mark price of a contract
    follows the market `underlying`.
    """

    symbol: str
    name: str
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    min_notional: Decimal
    reference_price: Decimal
    minor_unit_decimals: int | None = None
    underlying: str = ""
    brackets: tuple[DemoBracket, ...] = ()


class DemoRoute(NamedTuple):
    """A way on which a demo asset comes in and leaves, and the custody account at its end.

    `per_day` is what the standard tier may withdraw in 24 hours; thirty days allow ten times as much.
    """

    asset: str
    network: Network
    kind: CustodyKind
    name: str
    address: str
    fee: Decimal
    minimum: Decimal
    per_day: Decimal
    confirmations: int = 0


class DemoUser(NamedTuple):
    """A person or program that signs in with `DEMO_PASSWORD`."""

    username: str
    first_name: str
    funds: dict[str, Decimal]
    is_maker: bool = False
    is_administrator: bool = False
    finance_role: Role | None = None


ASSETS = (
    DemoAsset("TWD", "New Taiwan dollar", 2, "FIAT"),
    DemoAsset("USD", "US dollar", 2, "FIAT"),
    DemoAsset("USDT", "Tether", 6, "CRYPTO"),
    DemoAsset("BTC", "Bitcoin", 8, "CRYPTO"),
    DemoAsset("2330", "TSMC share", 0, "STOCK"),
    DemoAsset("AAPL", "Apple share", 0, "STOCK"),
)

BTC_BRACKETS = (
    DemoBracket(Decimal(0), 100, Decimal("0.005"), Decimal(0)),
    DemoBracket(Decimal(100_000), 50, Decimal("0.01"), Decimal(500)),
    DemoBracket(Decimal(500_000), 20, Decimal("0.025"), Decimal(8_000)),
    DemoBracket(Decimal(2_000_000), 10, Decimal("0.05"), Decimal(58_000)),
    DemoBracket(Decimal(10_000_000), 5, Decimal("0.1"), Decimal(558_000)),
)
"""Each amount lets the maintenance margin go on where the bracket before it ends."""

INSTRUMENTS = (
    DemoInstrument(
        "2330.TW", "TSMC", "2330", "TWD", Decimal(1), Decimal(1), Decimal(100), Decimal(600), minor_unit_decimals=2
    ),
    DemoInstrument(
        "BTCUSDT", "Bitcoin", "BTC", "USDT", Decimal("0.01"), Decimal("0.0001"), Decimal(5), Decimal(65_000)
    ),
    DemoInstrument(
        "BTC-PERP",
        "Bitcoin perpetual",
        "BTC",
        "USDT",
        Decimal("0.1"),
        Decimal("0.001"),
        Decimal(5),
        Decimal(65_000),
        underlying="BTCUSDT",
        brackets=BTC_BRACKETS,
    ),
    DemoInstrument("AAPL", "Apple", "AAPL", "USD", Decimal("0.01"), Decimal(1), Decimal(1), Decimal(230)),
)

ROUTES = (
    DemoRoute(
        "TWD",
        Network.BANK,
        CustodyKind.BANK,
        "Demo bank, TWD",
        "004-0000000001",
        Decimal(15),
        Decimal(100),
        Decimal(2_000_000),
    ),
    DemoRoute(
        "USD",
        Network.BANK,
        CustodyKind.BANK,
        "Demo bank, USD",
        "004-0000000002",
        Decimal(5),
        Decimal(50),
        Decimal(50_000),
    ),
    DemoRoute(
        "USDT",
        Network.TRON,
        CustodyKind.WALLET,
        "Demo wallet, Tron",
        "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
        Decimal(1),
        Decimal(10),
        Decimal(50_000),
        confirmations=20,
    ),
    DemoRoute(
        "BTC",
        Network.BITCOIN,
        CustodyKind.WALLET,
        "Demo wallet, Bitcoin",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        Decimal("0.0002"),
        Decimal("0.001"),
        Decimal(1),
        confirmations=3,
    ),
    DemoRoute(
        "2330",
        Network.SECURITIES,
        CustodyKind.BANK,
        "Demo depository, 2330",
        "9800-0000001",
        Decimal(0),
        Decimal(1),
        Decimal(5_000),
    ),
    DemoRoute(
        "AAPL",
        Network.SECURITIES,
        CustodyKind.BANK,
        "Demo depository, AAPL",
        "9800-0000002",
        Decimal(0),
        Decimal(1),
        Decimal(500),
    ),
)
"""The addresses are published examples; nothing of the demo's is on them."""

SAVED_ADDRESSES = {
    "alice": (("USDT", Network.TRON, "TLa2f6VPqDgRE67v1736s7bJ8Ray5wYjU7"), ("TWD", Network.BANK, "822-1234567890")),
}
"""Destinations that are usable at once, so that a visitor can see a withdrawal without waiting a day."""

SECOND_PERSON_SHARE = Decimal("0.2")
"""Deposits above this part of the daily limit wait for a second person."""

_TRADER_FUNDS = {
    "TWD": Decimal(10_000_000),
    "USD": Decimal(200_000),
    "USDT": Decimal(500_000),
    "BTC": Decimal(5),
    "2330": Decimal(10_000),
    "AAPL": Decimal(1_000),
}
_MAKER_FUNDS = {
    "TWD": Decimal(100_000_000_000),
    "USD": Decimal(10_000_000_000),
    "USDT": Decimal(10_000_000_000),
    "BTC": Decimal(100_000),
    "2330": Decimal(100_000_000),
    "AAPL": Decimal(10_000_000),
}

USERS = (
    DemoUser("alice", "Alice (demo)", _TRADER_FUNDS),
    DemoUser("bob", "Bob (demo)", _TRADER_FUNDS),
    DemoUser("admin", "Administrator (demo)", {}, is_administrator=True),
    DemoUser("accountant", "Accountant (demo)", {}, finance_role=Role.ACCOUNTANT),
    DemoUser("approver", "Approver (demo)", {}, finance_role=Role.APPROVER),
    DemoUser("auditor", "Auditor (demo)", {}, finance_role=Role.AUDITOR),
    DemoUser("support", "Support (demo)", {}, finance_role=Role.SUPPORT),
    DemoUser("demo-maker-1", "Demo maker 1", _MAKER_FUNDS, is_maker=True),
    DemoUser("demo-maker-2", "Demo maker 2", _MAKER_FUNDS, is_maker=True),
)
