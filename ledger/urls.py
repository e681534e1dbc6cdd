"""Addresses of the finance pages, under /admin/finance/."""

from django.urls import path

from ledger.exports import views as exports

app_name = "finance"

urlpatterns = [
    path("export", exports.page, name="export_journal"),
    path("export/file", exports.download, name="export_journal_file"),
]
