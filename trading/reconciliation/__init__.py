"""Checks that need orders, trades, the command log or holdings; `TradingConfig.ready` adds them to the ledger's."""
