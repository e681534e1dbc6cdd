"""Background work is scheduled under the names that its tasks have."""

from exchange.celery import app
from ledger.reconciliation import alerts, checks, runner


def test_every_scheduled_task_of_the_ledger_exists() -> None:
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}

    assert {runner.TASK} <= scheduled
    assert {runner.TASK, alerts.MAIL_TASK} <= set(app.tasks)


def test_the_full_pass_is_nightly() -> None:
    [entry] = [entry for entry in app.conf.beat_schedule.values() if entry["task"] == runner.TASK]

    assert (entry["schedule"].hour, len(entry["schedule"].minute)) == ({3}, 1)
    assert checks.NIGHTLY_SECONDS > 24 * 3600
