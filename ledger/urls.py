"""Addresses of the finance pages, under /admin/finance/."""

from django.urls import include, path

from ledger import views_statements as statements
from ledger.exports import views as exports
from ledger.reconciliation import views as reconciliation
from ledger.reserves import views as reserves
from ledger.tracing import views as tracing

app_name = "finance"

urlpatterns = [
    path("", include("ledger.controls.urls")),
    path("", include("ledger.transfers.pages.urls")),
    path("trace", tracing.page, name="trace"),
    path("reconciliation", reconciliation.overview, name="reconciliation"),
    path("reconciliation/run", reconciliation.run, name="reconciliation_run"),
    path("breaks", reconciliation.listed, name="breaks"),
    path("breaks/<int:break_id>", reconciliation.shown, name="break"),
    path("breaks/<int:break_id>/work", reconciliation.work, name="break_work"),
    path("statements", statements.index, name="statements"),
    path("balance-sheet", statements.balance_sheet, name="balance_sheet"),
    path("trial-balance", statements.trial_balance, name="trial_balance"),
    path("general-ledger", statements.general_ledger, name="general_ledger"),
    path("general-ledger/accounts", statements.accounts, name="accounts"),
    path("income-statement", statements.income_statement, name="income_statement"),
    path("cash-flow", statements.cash_flow, name="cash_flow"),
    path("fee-report", statements.fee_report, name="fee_report"),
    path("account-statement", statements.account_statement, name="account_statement"),
    path("statements/<slug:name>.<slug:ending>", statements.export, name="export"),
    path("export", exports.page, name="export_journal"),
    path("export/file", exports.download, name="export_journal_file"),
    path("reserves", reserves.requests, name="reserves"),
    path("reserves/publish", reserves.publish, name="publish_reserves"),
]
