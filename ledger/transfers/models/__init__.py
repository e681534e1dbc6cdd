"""The tables of deposits and withdrawals. `ledger.models` gives them out: Django looks for an app's models there."""

from ledger.transfers.models.custody import (
    CustodyAccount,
    CustodyKind,
    CustodyStatement,
    Network,
    StatementLine,
    StatementUpload,
    TransferRoute,
)
from ledger.transfers.models.deposits import (
    DepositAddress,
    DepositNotice,
    DepositSource,
    DepositState,
    WebhookDelivery,
)
from ledger.transfers.models.people import AccountProfile, HolderKind, Notice, TransferTier, WithdrawalLimit
from ledger.transfers.models.withdrawals import (
    TransferEvent,
    Withdrawal,
    WithdrawalAddress,
    WithdrawalState,
    WithdrawalStop,
)

__all__ = [
    "AccountProfile",
    "CustodyAccount",
    "CustodyKind",
    "CustodyStatement",
    "DepositAddress",
    "DepositNotice",
    "DepositSource",
    "DepositState",
    "HolderKind",
    "Network",
    "Notice",
    "StatementLine",
    "StatementUpload",
    "TransferEvent",
    "TransferRoute",
    "TransferTier",
    "WebhookDelivery",
    "Withdrawal",
    "WithdrawalAddress",
    "WithdrawalLimit",
    "WithdrawalState",
    "WithdrawalStop",
]
