"""Addresses of the calls of deposits and withdrawals, under /api/v1/."""

from django.urls import path

from ledger.transfers.api import deposits, notices, withdrawals

urlpatterns = [
    path("withdrawals", withdrawals.WithdrawalsView.as_view(), name="withdrawals"),
    path("withdrawals/options", withdrawals.WithdrawalOptionsView.as_view(), name="withdrawal-options"),
    path("withdrawals/<int:withdrawal_id>", withdrawals.WithdrawalView.as_view(), name="withdrawal"),
    path("addresses", withdrawals.AddressesView.as_view(), name="addresses"),
    path("addresses/<int:address_id>", withdrawals.AddressView.as_view(), name="address"),
    path("deposits", deposits.DepositsView.as_view(), name="deposits"),
    path("deposits/address", deposits.DepositAddressView.as_view(), name="deposit-address"),
    path("notices", notices.NoticesView.as_view(), name="notices"),
    path("notices/read", notices.NoticesReadView.as_view(), name="notices-read"),
    path(
        "webhooks/deposits/<slug:provider>",
        deposits.DepositWebhookView.as_view(),
        name="deposit-webhook",
    ),
]
