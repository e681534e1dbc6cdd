"""What a customer may move now, on which ways and at what price; for pages and APIs. Writes nothing."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from ledger import selectors
from ledger.chart import AccountCode
from ledger.transfers import custody, limits, stops


def withdrawal_routes(owner_id: int, *, now: datetime) -> list[dict[str, Any]]:
    """Return every way on which something may leave, with fee, minimum, limits and what is left of them."""
    stopped = {stop.asset_id for stop in stops.active()}
    wallets = selectors.wallets(owner_id)
    allowed = {}
    rows = []
    for route in custody.routes():
        asset = str(route.asset_id)
        if asset not in allowed:
            allowed[asset] = limits.of(owner_id, asset, now=now)
        limit = allowed[asset]
        rows.append(
            {
                "asset": asset,
                "network": route.network,
                "network_name": route.get_network_display(),
                "fee": route.withdraw_fee,
                "minimum": route.withdraw_min,
                "available": wallets.get(asset, {}).get(AccountCode.AVAILABLE, Decimal(0)),
                "open": route.withdrawals_open and not {None, asset} & stopped,
                "limit_day": None if limit is None else limit.per_day,
                "limit_month": None if limit is None else limit.per_month,
                "left": None if limit is None else limit.left,
            }
        )
    return rows


def deposit_routes() -> list[dict[str, Any]]:
    """Return every way on which something may come in."""
    return [
        {"asset": str(route.asset_id), "network": route.network, "network_name": route.get_network_display()}
        for route in custody.routes()
        if route.deposits_open
    ]
