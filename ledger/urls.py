"""Addresses of the finance pages, under /admin/finance/."""

from django.urls import path

from ledger.exports import views as exports
from ledger.reconciliation import views as reconciliation

app_name = "finance"

urlpatterns = [
    path("reconciliation", reconciliation.overview, name="reconciliation"),
    path("reconciliation/run", reconciliation.run, name="reconciliation_run"),
    path("breaks", reconciliation.listed, name="breaks"),
    path("breaks/<int:break_id>", reconciliation.shown, name="break"),
    path("breaks/<int:break_id>/work", reconciliation.work, name="break_work"),
    path("export", exports.page, name="export_journal"),
    path("export/file", exports.download, name="export_journal_file"),
]
