"""Instruments as tests need them; fixtures read as prose."""

from decimal import Decimal
from typing import Any

from ledger.models import Asset
from marketdata.models import Instrument
from marketdata.units import InstrumentSpec

ASSETS = {
    "TWD": ("New Taiwan dollar", 2, "FIAT"),
    "USDT": ("Tether", 6, "CRYPTO"),
    "BTC": ("Bitcoin", 8, "CRYPTO"),
    "2330": ("TSMC share", 0, "STOCK"),
}


def bitcoin(**changes: Any) -> Instrument:
    """Store BTCUSDT: tick 0.01, lot 0.0001."""
    fields = {
        "symbol": "BTCUSDT",
        "name": "Bitcoin",
        "base": asset("BTC"),
        "quote": asset("USDT"),
        "tick_size": Decimal("0.01"),
        "lot_size": Decimal("0.0001"),
        "min_notional": Decimal(5),
        "reference_price": Decimal(60000),
    }
    return Instrument.objects.create(**(fields | changes))


def tsmc(**changes: Any) -> Instrument:
    """Store 2330.TW: quoted in cents of TWD as JSON integers, whole shares."""
    fields = {
        "symbol": "2330.TW",
        "name": "TSMC",
        "base": asset("2330"),
        "quote": asset("TWD"),
        "tick_size": Decimal("0.5"),
        "lot_size": Decimal(1),
        "min_notional": Decimal(1),
        "reference_price": Decimal(600),
        "minor_unit_decimals": 2,
    }
    return Instrument.objects.create(**(fields | changes))


def asset(code: str) -> Asset:
    """Return an asset, stored at first use."""
    name, decimals, kind = ASSETS[code]
    found, _ = Asset.objects.get_or_create(code=code, defaults={"name": name, "decimals": decimals, "kind": kind})
    return found


def spec(**changes: Any) -> InstrumentSpec:
    """Return BTCUSDT as a value, no database: tick 0.01, lot 0.0001, id 1."""
    fields: dict[str, Any] = {
        "id": 1,
        "symbol": "BTCUSDT",
        "name": "Bitcoin",
        "kind": "SPOT",
        "base": "BTC",
        "quote": "USDT",
        "base_decimals": 8,
        "quote_decimals": 6,
        "tick_size": Decimal("0.01"),
        "lot_size": Decimal("0.0001"),
        "min_notional": Decimal(5),
        "band_rate": Decimal("0.2"),
        "market_slippage_rate": Decimal("0.05"),
        "maker_fee_rate": Decimal("0.0002"),
        "taker_fee_rate": Decimal("0.0002"),
        "reference_price": Decimal(60000),
    }
    return InstrumentSpec(**(fields | changes))


def share_spec(**changes: Any) -> InstrumentSpec:
    """Return 2330.TW as a value: tick NT$0.50 = 50 minor units, id 2."""
    fields: dict[str, Any] = {
        "id": 2,
        "symbol": "2330.TW",
        "name": "TSMC",
        "base": "2330",
        "quote": "TWD",
        "base_decimals": 0,
        "quote_decimals": 2,
        "tick_size": Decimal("0.5"),
        "lot_size": Decimal(1),
        "min_notional": Decimal(1),
        "reference_price": Decimal(600),
        "minor_unit_decimals": 2,
    }
    return spec(**(fields | changes))
