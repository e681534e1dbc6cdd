"""Our assets as currencies of `moneyed`: the only place that registers them."""

import moneyed


def currency(asset: str) -> moneyed.Currency:
    """Return the currency whose code is the asset's, registering it at first use.

    Codes that ISO 4217 has (TWD, USD) are moneyed's own; USDT, BTC or 2330.TW are added by us.
    """
    try:
        return moneyed.get_currency(asset)
    except moneyed.CurrencyDoesNotExist:
        return moneyed.add_currency(asset, numeric=None, name=asset)
