"""Wire shapes of deposits, withdrawals, addresses and notices: the rules that validate are those that are published."""

from datetime import datetime
from typing import Any, Final

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from exchange.api.pagination import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from exchange.api.requests import IntegerField, PatternField, StrictSerializer, TextField, WordField
from exchange.api.serializers import DecimalAmountField, DecimalStringField
from exchange.kernel.money import EXACT
from ledger.transfers.models import (
    DepositAddress,
    DepositNotice,
    DepositSource,
    DepositState,
    Network,
    Withdrawal,
    WithdrawalAddress,
    WithdrawalState,
)
from ledger.transfers.models.withdrawals import CANCELLABLE
from ledger.transfers.steps import reason_words

ID_MAX: Final = 2**53 - 1
ASSET_LENGTH_MAX: Final = 16
PASSWORD_LENGTH_MAX: Final = 128
CONFIRM_WITH: Final = ("otp", "password")
WITHDRAWAL_STATUSES: Final = [state.value.lower() for state in WithdrawalState]
DEPOSIT_STATUSES: Final = [state.value.lower() for state in DepositState]
SOURCES: Final = [source.value.lower() for source in DepositSource]


class WithdrawalIdField(PatternField):
    """The client's own name of a withdrawal."""

    default_error_messages = {"invalid": _("Use 1 to 64 letters, digits and . _ : -")}

    def __init__(self, **options: Any) -> None:
        super().__init__(r"^[A-Za-z0-9_.:-]{1,64}$", **options)


class InstantField(serializers.DateTimeField):
    """A moment as JSON text, with its offset."""

    default_error_messages = {"naive": _("Give the offset from UTC, such as Z.")}

    def to_internal_value(self, value: Any) -> datetime:
        """Refuse what is no text, and a moment without offset."""
        if not isinstance(value, str):
            self.fail("invalid", format="RFC 3339")
        moment: datetime = super().to_internal_value(value)
        if value.rstrip()[-1:] not in {"Z", "z"} and "+" not in value and value.count("-") < 3:  # noqa: PLR2004
            self.fail("naive")
        return moment


class ConfirmedRequest(StrictSerializer):
    """A request that the person confirms once more."""

    otp = TextField(required=False, max_length=16, help_text="One-time code, where the user has a device.")
    password = TextField(
        required=False,
        max_length=PASSWORD_LENGTH_MAX,
        trim_whitespace=False,
        help_text="The password once more, where the user has no device.",
    )


class WithdrawalPlaceRequest(ConfirmedRequest):
    """Asks for a withdrawal to a saved address, which carries asset and network."""

    address_id = IntegerField(min_value=1, max_value=ID_MAX)
    amount = DecimalAmountField(help_text="What leaves the wallet; the fee is part of it.")
    client_withdrawal_id = WithdrawalIdField(required=False, help_text="Makes a retry harmless.")


class AddressSaveRequest(ConfirmedRequest):
    """Saves a destination."""

    asset = TextField(max_length=ASSET_LENGTH_MAX)
    network = WordField(choices=Network.values)
    address = TextField(max_length=128)
    memo = TextField(required=False, allow_blank=True, max_length=64, help_text="Memo or tag, where one is needed.")
    label = TextField(max_length=50)  # type: ignore[assignment]  # a field of the wire, not DRF's own label


class DepositAddressRequest(StrictSerializer):
    """Asks where to send an asset."""

    asset = TextField(max_length=ASSET_LENGTH_MAX)
    network = WordField(choices=Network.values)


class NoticesReadRequest(StrictSerializer):
    """Marks notices as read."""

    up_to_id = IntegerField(min_value=0, max_value=ID_MAX, help_text="The newest notice that was read.")


class DepositWebhookRequest(StrictSerializer):
    """What a provider says of a deposit."""

    reference = TextField(max_length=100, help_text="Names the transfer for ever: a txid with the output's number.")
    asset = TextField(max_length=ASSET_LENGTH_MAX)
    network = WordField(choices=Network.values)
    amount = DecimalAmountField()
    address = TextField(required=False, allow_blank=True, max_length=128, default="")
    memo = TextField(required=False, allow_blank=True, max_length=300, default="")
    confirmations = IntegerField(min_value=0, max_value=2**31 - 1)
    occurred_at = InstantField()


class TransferPageQuery(StrictSerializer):
    """Which page."""

    cursor = TextField(required=False, max_length=64, help_text="next_cursor of the page before.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=PAGE_SIZE_MAX, default=PAGE_SIZE_DEFAULT)


class WithdrawalListQuery(TransferPageQuery):
    """Which withdrawals, and which page of them."""

    asset = TextField(required=False, max_length=ASSET_LENGTH_MAX)
    status = WordField(choices=WITHDRAWAL_STATUSES, required=False)


class AddressListQuery(StrictSerializer):
    """Which saved addresses."""

    asset = TextField(required=False, max_length=ASSET_LENGTH_MAX)


# --- Answers -----------------------------------------------------------------------------------------


class WithdrawalResponse(serializers.Serializer[Any]):
    """A withdrawal."""

    withdrawal_id = serializers.IntegerField()
    asset = serializers.CharField()
    network = serializers.CharField()
    amount = DecimalStringField()
    fee = DecimalStringField()
    arrives = DecimalStringField(help_text="amount - fee: what the destination gets.")
    address_id = serializers.IntegerField()
    address = serializers.CharField()
    memo = serializers.CharField()
    status = serializers.CharField(help_text=", ".join(WITHDRAWAL_STATUSES))
    can_cancel = serializers.BooleanField()
    client_withdrawal_id = serializers.CharField(allow_null=True)
    reference = serializers.CharField(help_text="Txid or bank reference, once it has been paid.")
    reason = serializers.CharField(help_text="Why it was rejected.")
    requested_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class WithdrawalPageResponse(serializers.Serializer[Any]):
    """A page of withdrawals, newest first."""

    items = WithdrawalResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class WithdrawalRouteResponse(serializers.Serializer[Any]):
    """A way on which an asset leaves, and how much of it may leave now."""

    asset = serializers.CharField()
    network = serializers.CharField()
    fee = DecimalStringField()
    minimum = DecimalStringField()
    network_name = serializers.CharField(help_text="In the language of the request.")
    available = DecimalStringField()
    open = serializers.BooleanField(help_text="false while withdrawals are stopped or the route is closed.")
    limit_day = DecimalStringField(allow_null=True, help_text="In 24 hours; null: not opened for you.")
    limit_month = DecimalStringField(allow_null=True, help_text="In 30 days.")
    left = DecimalStringField(allow_null=True, help_text="What may still leave now.")


class WithdrawalOptionsResponse(serializers.Serializer[Any]):
    """What can be withdrawn, and how it is confirmed."""

    confirm_with = serializers.CharField(help_text="otp or password.")
    routes = WithdrawalRouteResponse(many=True)


class AddressResponse(serializers.Serializer[Any]):
    """A saved destination."""

    address_id = serializers.IntegerField()
    asset = serializers.CharField()
    network = serializers.CharField()
    address = serializers.CharField()
    memo = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    created_at = serializers.DateTimeField()
    usable_from = serializers.DateTimeField(help_text="Before, it cannot be used.")


class DepositAddressResponse(serializers.Serializer[Any]):
    """Where to send an asset."""

    asset = serializers.CharField()
    network = serializers.CharField()
    address = serializers.CharField()
    memo = serializers.CharField(help_text="Must stand in the transfer's words or memo, unless it is empty.")
    confirmations = serializers.IntegerField(help_text="Blocks until it is credited.")


class DepositResponse(serializers.Serializer[Any]):
    """A deposit."""

    deposit_id = serializers.IntegerField()
    asset = serializers.CharField()
    amount = DecimalStringField()
    status = serializers.CharField(help_text=", ".join(DEPOSIT_STATUSES))
    source = serializers.CharField(help_text=", ".join(SOURCES))  # type: ignore[assignment]
    reference = serializers.CharField()
    confirmations = serializers.IntegerField()
    confirmations_needed = serializers.IntegerField()
    reason = serializers.CharField(help_text="Why it was refused.")
    created_at = serializers.DateTimeField()
    occurred_at = serializers.DateTimeField(allow_null=True)


class DepositPageResponse(serializers.Serializer[Any]):
    """A page of deposits, newest first."""

    items = DepositResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class DepositWebhookResponse(serializers.Serializer[Any]):
    """What a provider is answered."""

    deposit_id = serializers.IntegerField()
    status = serializers.CharField()
    repeated = serializers.BooleanField(help_text="This very call came before.")


class NoticeResponse(serializers.Serializer[Any]):
    """Something you were told: facts for programs, words for people in the language of the request."""

    notice_id = serializers.IntegerField()
    kind = serializers.CharField()
    title = serializers.CharField()
    text = serializers.CharField()
    details = serializers.DictField(child=serializers.CharField(allow_blank=True))
    created_at = serializers.CharField()
    read_at = serializers.CharField(allow_null=True)


class NoticePageResponse(serializers.Serializer[Any]):
    """A page of notices, newest first, and how many of all are unread."""

    items = NoticeResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)
    unread = serializers.IntegerField()


class NoticesReadResponse(serializers.Serializer[Any]):
    """How many notices were marked."""

    count = serializers.IntegerField()
    unread = serializers.IntegerField()


# --- Shapes -------------------------------------------------------------------------------------------


def withdrawal_shape(withdrawal: Withdrawal) -> dict[str, Any]:
    """Return a withdrawal as its owner sees it."""
    return {
        "withdrawal_id": withdrawal.pk,
        "asset": withdrawal.asset_id,
        "network": withdrawal.network,
        "amount": withdrawal.amount,
        "fee": withdrawal.fee,
        "arrives": EXACT.subtract(withdrawal.amount, withdrawal.fee),
        "address_id": withdrawal.saved_address_id,
        "address": withdrawal.address,
        "memo": withdrawal.memo,
        "status": withdrawal.state.lower(),
        "can_cancel": withdrawal.state in CANCELLABLE,
        "client_withdrawal_id": withdrawal.client_withdrawal_id,
        "reference": withdrawal.payout_reference,
        "reason": reason_words(withdrawal.reason),
        "requested_at": withdrawal.requested_at,
        "updated_at": withdrawal.updated_at,
        "ended_at": withdrawal.ended_at,
    }


def address_shape(address: WithdrawalAddress) -> dict[str, Any]:
    """Return a saved address as its owner sees it."""
    return {
        "address_id": address.pk,
        "asset": address.asset_id,
        "network": address.network,
        "address": address.address,
        "memo": address.memo,
        "label": address.label,
        "created_at": address.created_at,
        "usable_from": address.usable_from,
    }


def deposit_address_shape(address: DepositAddress) -> dict[str, Any]:
    """Return where a customer sends an asset."""
    account = address.custody
    return {
        "asset": account.asset_id,
        "network": account.network,
        "address": address.address or account.address,
        "memo": address.memo,
        "confirmations": account.confirmations,
    }


def deposit_shape(deposit: DepositNotice) -> dict[str, Any]:
    """Return a deposit as its owner sees it."""
    return {
        "deposit_id": deposit.pk,
        "asset": deposit.amount.currency.code,
        "amount": deposit.amount.amount,
        "status": deposit.state.lower(),
        "source": deposit.source.lower(),
        "reference": deposit.reference,
        "confirmations": deposit.confirmations,
        "confirmations_needed": 0 if deposit.custody is None else deposit.custody.confirmations,
        "reason": deposit.reason,
        "created_at": deposit.created_at,
        "occurred_at": deposit.occurred_at,
    }
