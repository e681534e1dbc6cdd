"""Addresses of the ledger's calls, under /api/v1/."""

from django.urls import path

from ledger.api.statement import StatementView

urlpatterns = [path("account/statement", StatementView.as_view(), name="account-statement")]
