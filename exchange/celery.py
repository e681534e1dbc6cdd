"""The Celery application: finds every app's tasks and names when they run.

The schedule is copied into the database when beat starts; an operator may change it there.
"""

import os

from celery import Celery
from celery.schedules import crontab

from ledger.services.back_office import ROUND_SECONDS

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exchange.settings.dev")

app = Celery("exchange")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

app.conf.beat_schedule = {
    "reconcile in full": {"task": "ledger.tasks.reconcile", "schedule": crontab(minute="30", hour="3")},
    "carry out what staff decided": {"task": "ledger.tasks.carry_out", "schedule": ROUND_SECONDS},
    "sweep holds": {"task": "trading.tasks.sweep_holds", "schedule": 60.0},
    "sweep holds by the whole log": {
        "task": "trading.tasks.sweep_holds",
        "schedule": crontab(minute="50", hour="3"),
        "kwargs": {"whole": True},
    },
    "make partitions": {"task": "marketdata.tasks.make_partitions", "schedule": crontab(minute="10", hour="0")},
    "make trading partitions": {"task": "trading.tasks.make_partitions", "schedule": crontab(minute="15", hour="0")},
    "forget expired tokens": {
        "task": "exchange.users.tasks.flush_expired_tokens",
        "schedule": crontab(minute="40", hour="4"),
    },
    "prune consumed events": {
        "task": "trading.tasks.prune_consumed_events",
        "schedule": crontab(minute="25", hour="4"),
    },
    "prune private events": {
        "task": "trading.tasks.prune_private_events",
        "schedule": crontab(minute="20"),
    },
}
