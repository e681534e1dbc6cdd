"""The market of a vector: a perpetual contract of its own, open and marked, and a way out for its funds."""

from datetime import datetime
from decimal import Decimal
from typing import Final

from exchange.kernel.clock import utc_now
from exchange.vectors.road import ASSET
from ledger.models import Asset, AssetKind, TransferRoute, WithdrawalAddress, WithdrawalLimit
from ledger.transfers.models import Network
from marketdata.models import Instrument, InstrumentKind, InstrumentStatus, LeverageBracket
from risk.models import DEFAULT_TIER
from trading.services import mark_price, trading_state
from trading.services.mark_price import MarkPrice

BASE: Final = "BTC"
DECIMALS: Final = {BASE: 8, ASSET: 6}
LEVERAGE_MAX: Final = 100
MAINTENANCE: Final = Decimal("0.005")
BAND: Final = Decimal("0.9")
WITHDRAWAL_MAX: Final = Decimal(1_000)
ADDRESS: Final = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"


def make(symbol: str, *, size: Decimal, price: Decimal) -> None:
    """Open a contract without fees: tick 1, lot 1. Its prices are then the only thing that moves funds."""
    for code, decimals in DECIMALS.items():
        kept = {"name": code, "decimals": decimals, "kind": AssetKind.CRYPTO}
        Asset.objects.get_or_create(code=code, defaults=kept)
    TransferRoute.objects.get_or_create(
        asset_id=ASSET, network=Network.TRON, defaults={"withdraw_fee": Decimal(0), "withdraw_min": Decimal(1)}
    )
    WithdrawalLimit.objects.get_or_create(
        tier=DEFAULT_TIER, asset_id=ASSET, defaults={"per_day": WITHDRAWAL_MAX, "per_month": WITHDRAWAL_MAX}
    )
    made = Instrument.objects.create(
        symbol=symbol,
        name=symbol,
        kind=InstrumentKind.PERPETUAL,
        base_id=BASE,
        quote_id=ASSET,
        tick_size=Decimal(1),
        lot_size=Decimal(1),
        contract_size=size,
        min_notional=Decimal(1),
        band_rate=BAND,
        maker_fee_rate=Decimal(0),
        taker_fee_rate=Decimal(0),
        reference_price=price,
        status=InstrumentStatus.CLOSED,
    )
    LeverageBracket.objects.create(
        instrument=made,
        notional_floor=Decimal(0),
        leverage_max=LEVERAGE_MAX,
        maintenance_rate=MAINTENANCE,
        maintenance_amount=Decimal(0),
    )
    trading_state.change(symbol, InstrumentStatus.TRADING, now=utc_now())
    mark(symbol, price)


def mark(symbol: str, price: Decimal) -> None:
    """Publish a mark price."""
    mark_price.publish([MarkPrice(symbol, price)], now=utc_now())


def address(owner_id: int, *, saved_at: datetime) -> WithdrawalAddress:
    """Return a trader's address for withdrawals, saved long enough ago to be used."""
    saved, _ = WithdrawalAddress.objects.get_or_create(
        owner_id=owner_id,
        asset_id=ASSET,
        network=Network.TRON,
        address=ADDRESS,
        defaults={"label": "own", "created_at": saved_at, "usable_from": saved_at},
    )
    return saved
