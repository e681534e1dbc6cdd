"""Refusals of deposits, withdrawals and what belongs to them, by permanent code: 4100 to 4199."""

from exchange.kernel.errors import DomainError, gettext_noop

# --- Withdrawals ----------------------------------------------------------------------------------


class WithdrawalsStoppedError(DomainError):
    """Withdrawals of this asset, or all, are stopped for now."""

    code = 4100
    name = "WITHDRAWALS_STOPPED"
    status = 409
    message = gettext_noop("Withdrawals of %(asset)s are stopped for now.")


class DebtBlocksWithdrawalError(DomainError):
    """Who owes the exchange something pays first."""

    code = 4101
    name = "DEBT_BLOCKS_WITHDRAWAL"
    status = 409
    message = gettext_noop("No withdrawal while a debt is open: %(debt)s %(asset)s.")


class WithdrawalsBlockedError(DomainError):
    """The account is frozen, or may not withdraw."""

    code = 4102
    name = "WITHDRAWALS_BLOCKED"
    status = 403
    message = gettext_noop("This account may not withdraw for now; please contact support.")


class RouteClosedError(DomainError):
    """The asset does not come in or leave on this network."""

    code = 4103
    name = "ROUTE_CLOSED"
    message = gettext_noop("%(asset)s does not move on %(network)s here, or not for now.")


class WithdrawalTooSmallError(DomainError):
    """The amount is below the smallest withdrawal."""

    code = 4104
    name = "WITHDRAWAL_TOO_SMALL"
    message = gettext_noop("The smallest withdrawal is %(minimum)s %(asset)s.")


class WithdrawalLimitError(DomainError):
    """More than the limit of a day or a month would leave."""

    code = 4105
    name = "WITHDRAWAL_LIMIT"
    message = gettext_noop("The limit is %(limit)s %(asset)s in %(hours)s hours; %(left)s are left.")


class NoWithdrawalLimitError(DomainError):
    """Nobody has set how much of the asset may leave, so nothing may."""

    code = 4106
    name = "NO_WITHDRAWAL_LIMIT"
    message = gettext_noop("Withdrawals of %(asset)s have not been opened for this account.")


class TooManyWithdrawalsError(DomainError):
    """The tier allows no more requests in 24 hours."""

    code = 4107
    name = "TOO_MANY_WITHDRAWALS"
    status = 429
    message = gettext_noop("At most %(limit)s withdrawals in 24 hours.")


class InsufficientBalanceError(DomainError):
    """The wallet does not cover the withdrawal."""

    code = 4108
    name = "INSUFFICIENT_BALANCE"
    message = gettext_noop("Available are %(available)s %(asset)s.")


class WithdrawalNotFoundError(DomainError):
    """There is no such withdrawal, or it is another customer's: the same answer."""

    code = 4109
    name = "WITHDRAWAL_NOT_FOUND"
    status = 404
    message = gettext_noop("There is no withdrawal %(withdrawal_id)s.")


class WithdrawalMovedOnError(DomainError):
    """The withdrawal is no longer as the caller saw it, or this step does not follow from where it stands."""

    code = 4110
    name = "WITHDRAWAL_MOVED_ON"
    status = 409
    message = gettext_noop("Withdrawal %(withdrawal_id)s is %(state)s by now; nothing was changed.")


class ClientIdReusedError(DomainError):
    """The client's id was used for a different withdrawal."""

    code = 4111
    name = "CLIENT_WITHDRAWAL_ID_REUSED"
    status = 409
    message = gettext_noop("client_withdrawal_id %(client_withdrawal_id)s was used for another withdrawal.")


class PayoutError(DomainError):
    """The payout does not fit the withdrawal."""

    code = 4112
    name = "PAYOUT"
    message = gettext_noop("The payout cannot be recorded: %(reason)s")


# --- Persons ---------------------------------------------------------------------------------------


class SamePersonError(DomainError):
    """Two persons are needed, and this is the first of them again."""

    code = 4115
    name = "SAME_PERSON"
    status = 403
    message = gettext_noop("A second person must decide this.")


class OwnTransferError(DomainError):
    """Nobody decides on money, or on a profile, of their own."""

    code = 4116
    name = "OWN_TRANSFER"
    status = 403
    message = gettext_noop("Nobody decides on what is their own.")


class ReasonRequiredError(DomainError):
    """A decision against a customer says why."""

    code = 4117
    name = "REASON_REQUIRED"
    message = gettext_noop("Give a reason.")


class ConfirmationRequiredError(DomainError):
    """The step needs the caller's second factor, or the password where there is none."""

    code = 4118
    name = "CONFIRMATION_REQUIRED"
    status = 403
    message = gettext_noop("Confirm with %(method)s.")


class ConfirmationWrongError(DomainError):
    """The code or the password is wrong, or the code was used before."""

    code = 4119
    name = "CONFIRMATION_WRONG"
    status = 403
    message = gettext_noop("The code or the password is wrong.")


class ProfileMovedOnError(DomainError):
    """Somebody else changed the profile meanwhile."""

    code = 4120
    name = "PROFILE_MOVED_ON"
    status = 409
    message = gettext_noop("Somebody else changed this profile meanwhile; look again.")


# --- Addresses --------------------------------------------------------------------------------------


class AddressNotFoundError(DomainError):
    """There is no such saved address, or it is another customer's or was removed: the same answer."""

    code = 4125
    name = "ADDRESS_NOT_FOUND"
    status = 404
    message = gettext_noop("There is no saved address %(address_id)s.")


class AddressInvalidError(DomainError):
    """The text is no address of this network."""

    code = 4126
    name = "ADDRESS_INVALID"
    message = gettext_noop("This is no valid address: %(reason)s")


class AddressKnownError(DomainError):
    """The address is saved already."""

    code = 4127
    name = "ADDRESS_KNOWN"
    status = 409
    message = gettext_noop("This address is saved already.")


class AddressNotUsableYetError(DomainError):
    """A new address waits before it can be used."""

    code = 4128
    name = "ADDRESS_NOT_USABLE_YET"
    status = 409
    message = gettext_noop("This address can be used from %(usable_from)s.")


class TooManyAddressesError(DomainError):
    """The address book is full."""

    code = 4129
    name = "TOO_MANY_ADDRESSES"
    message = gettext_noop("At most %(limit)s addresses can be saved.")


# --- Deposits and statements ------------------------------------------------------------------------


class CustodyUnknownError(DomainError):
    """There is no such custody account, or it is not active."""

    code = 4135
    name = "CUSTODY_UNKNOWN"
    message = gettext_noop("There is no active custody account for this.")


class DepositNotFoundError(DomainError):
    """There is no such deposit, or it is another customer's: the same answer."""

    code = 4136
    name = "DEPOSIT_NOT_FOUND"
    status = 404
    message = gettext_noop("There is no deposit %(deposit_id)s.")


class DepositMovedOnError(DomainError):
    """The deposit is no longer as the caller saw it."""

    code = 4137
    name = "DEPOSIT_MOVED_ON"
    status = 409
    message = gettext_noop("This deposit is %(state)s by now; nothing was changed.")


class DepositKnownError(DomainError):
    """A deposit with this reference is there already, and says something else."""

    code = 4138
    name = "DEPOSIT_KNOWN"
    status = 409
    message = gettext_noop("The reference %(reference)s is known with another amount or owner.")


class CustomerUnknownError(DomainError):
    """There is no such customer."""

    code = 4139
    name = "CUSTOMER_UNKNOWN"
    message = gettext_noop("There is no customer %(customer)s.")


class NoDepositAddressError(DomainError):
    """No address is free at the moment."""

    code = 4140
    name = "NO_DEPOSIT_ADDRESS"
    status = 503
    message = gettext_noop("No deposit address is free at the moment; please try again later.")


class StatementRefusedError(DomainError):
    """The file is no statement that can be imported; `data.rows` says why, row by row."""

    code = 4145
    name = "STATEMENT_REFUSED"
    message = gettext_noop("This file cannot be imported: %(reason)s")


class StatementKnownError(DomainError):
    """The same file was imported before."""

    code = 4146
    name = "STATEMENT_KNOWN"
    status = 409
    message = gettext_noop("This file was imported before.")


# --- Webhooks ---------------------------------------------------------------------------------------


class WebhookUnknownError(DomainError):
    """No provider of this name is set up."""

    code = 4180
    name = "WEBHOOK_UNKNOWN"
    status = 404
    message = gettext_noop("There is nothing here.")


class WebhookSignatureError(DomainError):
    """The signature is missing or wrong."""

    code = 4181
    name = "WEBHOOK_SIGNATURE"
    status = 401
    message = gettext_noop("The signature is missing or wrong.")


class WebhookStaleError(DomainError):
    """The timestamp is too far from our clock."""

    code = 4182
    name = "WEBHOOK_STALE"
    status = 401
    message = gettext_noop("The timestamp is more than %(seconds)s seconds from ours.")


class WebhookRepeatedError(DomainError):
    """The very same call came before and was refused; what has changed since needs a new one."""

    code = 4183
    name = "WEBHOOK_REPEATED"
    status = 409
    message = gettext_noop("This very call was refused before (%(outcome)s); sign a new one.")
