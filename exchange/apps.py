"""Tells Django about the composition root: commands, demo, pages."""

from django.apps import AppConfig


class ExchangeConfig(AppConfig):
    """The composition root; it owns no tables."""

    name = "exchange"

    def ready(self) -> None:
        """Make our Celery application the one that tasks are sent through, and let Prometheus ask for dependencies."""
        from exchange import celery  # noqa: F401 -- importing it is what does it
        from exchange.management import dependencies
        from exchange.observability import metrics

        metrics.ON_SCRAPE.append(dependencies.WATCH.measure)
