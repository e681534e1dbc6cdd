"""Addresses of the finance pages of deposits, withdrawals, custody accounts and customers, under /admin/finance/."""

from django.urls import path

from ledger.transfers.pages import custody, customers, deposits, withdrawals

urlpatterns = [
    path("withdrawals", withdrawals.listed, name="withdrawals"),
    path("withdrawals/stop", withdrawals.stop, name="withdrawals_stop"),
    path("withdrawals/stops/<int:stop_id>/lift", withdrawals.lift, name="withdrawals_lift"),
    path("withdrawals/<int:withdrawal_id>", withdrawals.shown, name="withdrawal"),
    path("withdrawals/<int:withdrawal_id>/pass", withdrawals.pass_review, name="withdrawal_pass"),
    path("withdrawals/<int:withdrawal_id>/approve", withdrawals.approve, name="withdrawal_approve"),
    path("withdrawals/<int:withdrawal_id>/reject", withdrawals.reject, name="withdrawal_reject"),
    path("withdrawals/<int:withdrawal_id>/payout", withdrawals.payout, name="withdrawal_payout"),
    path("deposits", deposits.listed, name="deposits"),
    path("deposits/new", deposits.new, name="deposit_new"),
    path("deposits/<int:deposit_id>", deposits.shown, name="deposit"),
    path("deposits/<int:deposit_id>/owner", deposits.assign, name="deposit_assign"),
    path("deposits/<int:deposit_id>/approve", deposits.approve, name="deposit_approve"),
    path("deposits/<int:deposit_id>/refuse", deposits.refuse, name="deposit_refuse"),
    path("custody", custody.listed, name="custody"),
    path("custody/<int:custody_id>", custody.shown, name="custody_account"),
    path("custody/<int:custody_id>/upload", custody.upload, name="statement_upload"),
    path("custody/<int:custody_id>/stock", custody.stock, name="custody_stock"),
    path("custody/uploads/<int:upload_id>", custody.preview, name="statement_preview"),
    path("custody/uploads/<int:upload_id>/import", custody.import_, name="statement_import"),
    path("custody/statements/<int:statement_id>", custody.statement, name="custody_statement"),
    path("customers", customers.listed, name="customers"),
    path("customers/<int:owner_id>", customers.shown, name="customer"),
    path("customers/<int:owner_id>/edit", customers.edit, name="customer_edit"),
]
