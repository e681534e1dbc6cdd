"""Tells Django about the trading app, and the ledger how far orders are settled."""

from django.apps import AppConfig


class TradingConfig(AppConfig):
    """The trading app."""

    name = "trading"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Hand the ledger, which cannot import us, our checks, our part of the back office's work, and answers."""
        from exchange.observability import metrics
        from ledger import tasks
        from ledger.reconciliation import checks
        from ledger.services import office_rounds
        from ledger.tracing import story
        from ledger.transfers import notices as ledger_notices
        from ledger.transfers import outside
        from trading import sources, valuation
        from trading.events import consumers
        from trading.events import notices as event_notices
        from trading.reconciliation import derived, left_behind, log, orders, positions, replay, suspended, trades
        from trading.services import log_heads, margin_removals, notices
        from trading.tracing import road

        checks.register(suspended.CHECK, *log.CHECKS, *replay.CHECKS, *trades.CHECKS, *orders.CHECKS)
        checks.register(*derived.CHECKS, *positions.CHECKS, left_behind.CHECK)
        metrics.ON_SCRAPE.append(left_behind.measure)
        sources.register()
        valuation.register()
        tasks.WORK["margin_removals"] = margin_removals.carry_out
        office_rounds.WAITING["margin_removals"] = margin_removals.waiting
        story.register(road.TELLER)
        ledger_notices.KINDS.update(event_notices.WORDS)
        consumers.register(event_notices.NOTICES)
        outside.provide(log_heads=log_heads.now, ready_when=log_heads.have_settled, push=notices.push)
