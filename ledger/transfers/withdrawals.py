"""What a customer asks for: a withdrawal, and to take it back.

Staff's part is in `decisions.py`, posting in `payouts.py`.

Note [Waiting for the logs]
    Fills that are matched but not settled yet may cost the customer money. A request therefore notes how far the logs
    reach (under the trader's gate, so that nothing of this trader can be appended meanwhile) and goes forward only when
    settlement has passed these heads: `payouts.advance`. Its funds are held from the first moment.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db import connection, transaction

from exchange.kernel.money import plain, to_quanta
from exchange.observability.tracing import current_trace
from ledger import posting_rules, selectors
from ledger.chart import AccountCode
from ledger.entries import AccountKey
from ledger.models import Asset
from ledger.posting_rules import EventKind
from ledger.services import accounts, back_office, journal
from ledger.transfers import addresses, custody, limits, profiles, steps, stops
from ledger.transfers.errors import (
    ClientIdReusedError,
    DebtBlocksWithdrawalError,
    InsufficientBalanceError,
    RouteClosedError,
    WithdrawalMovedOnError,
    WithdrawalNotFoundError,
    WithdrawalTooSmallError,
)
from ledger.transfers.models import Withdrawal, WithdrawalAddress, WithdrawalState
from ledger.transfers.models.withdrawals import CANCELLABLE
from ledger.transfers.outside import OUTSIDE

_NUMBER: Final = "SELECT nextval('ledger_withdrawal_number')"


@dataclass(frozen=True, slots=True)
class WithdrawalRequest:
    """What a customer wants out.

    Args:
        address_id: A saved address; it carries asset and network.
        amount: What leaves the wallet, the fee in it.
        client_withdrawal_id: The client's own name of the request, which makes a retry harmless.
    """

    address_id: int
    amount: Decimal
    client_withdrawal_id: str | None = None


def request(owner_id: int, wanted: WithdrawalRequest, *, now: datetime) -> tuple[Withdrawal, bool]:
    """Hold the funds and write the request down, together or not at all.

    Returns:
        The withdrawal, and whether a retry found it instead of making it.

    Raises:
        DomainError: One of the refusals of `errors.py`; no row was written and no wallet moved.
    """
    with transaction.atomic():
        accounts.lock([owner_id])
        repeated = _repeated(owner_id, wanted)
        if repeated is not None:
            return repeated, True
        address, fee = _admit(owner_id, wanted, now=now)
        made = _place(owner_id, wanted, address, fee, now=now)
    return made, False


def _repeated(owner_id: int, wanted: WithdrawalRequest) -> Withdrawal | None:
    """Return the withdrawal that a retry means.

    Raises:
        ClientIdReusedError: The id was used for something else.
    """
    if wanted.client_withdrawal_id is None:
        return None
    found = Withdrawal.objects.filter(owner_id=owner_id, client_withdrawal_id=wanted.client_withdrawal_id).first()
    if found is not None and (found.saved_address_id, found.amount) != (wanted.address_id, wanted.amount):
        raise ClientIdReusedError(client_withdrawal_id=wanted.client_withdrawal_id)
    return found


def _admit(owner_id: int, wanted: WithdrawalRequest, *, now: datetime) -> tuple[WithdrawalAddress, Decimal]:
    """Refuse what cannot be withdrawn; return the destination and the fee."""
    address = addresses.usable(owner_id, wanted.address_id, now=now)
    asset = str(address.asset_id)
    route = custody.route(asset, address.network)
    if not route.withdrawals_open:
        raise RouteClosedError(asset=asset, network=address.network)
    profiles.check_may_withdraw(owner_id)
    stops.check(asset)
    check_debt(owner_id)
    to_quanta(wanted.amount, Asset.objects.values_list("decimals", flat=True).get(pk=asset))
    if wanted.amount < route.withdraw_min:
        raise WithdrawalTooSmallError(minimum=plain(route.withdraw_min), asset=asset)
    limits.check(owner_id, asset, wanted.amount, now=now)
    wallet = AccountKey(owner_id, AccountCode.AVAILABLE, asset)
    available = accounts.balances([wallet])[wallet]
    if available < wanted.amount:
        raise InsufficientBalanceError(available=plain(available), asset=asset)
    return address, route.withdraw_fee


def check_debt(owner_id: int) -> None:
    """Refuse while the customer owes anything, in whatever asset.

    Raises:
        DebtBlocksWithdrawalError: Something is owed.
    """
    for asset, held in selectors.wallets(owner_id).items():
        debt = held.get(AccountCode.DEBT, Decimal(0))
        if debt:
            raise DebtBlocksWithdrawalError(debt=plain(debt.copy_negate()), asset=asset)


def _place(
    owner_id: int, wanted: WithdrawalRequest, address: WithdrawalAddress, fee: Decimal, *, now: datetime
) -> Withdrawal:
    """Post the hold and write the request with it. The web's role may post this, and nothing that lets funds go."""
    with connection.cursor() as cursor:
        cursor.execute(_NUMBER)
        number = int(cursor.fetchone()[0])
    trace = current_trace()
    hold = posting_rules.draft(
        EventKind.WITHDRAWAL_HOLD,
        key=hold_key(number),
        effective_at=now,
        trace=trace,
        roles={"user": owner_id},
        assets={"asset": str(address.asset_id)},
        amounts={"amount": wanted.amount},
    )
    heads = OUTSIDE.log_heads()
    [entry] = journal.post([hold], now)
    made = Withdrawal.objects.create(
        id=number,
        owner_id=owner_id,
        asset_id=address.asset_id,
        amount=wanted.amount,
        fee=fee,
        saved_address=address,
        network=address.network,
        address=address.address,
        memo=address.memo,
        client_withdrawal_id=wanted.client_withdrawal_id,
        log_heads=heads,
        trace=trace,
        requested_at=now,
        state=WithdrawalState.REQUESTED,
        updated_at=now,
        hold_entry_id=entry.id,
    )
    steps.record(made, "", by=owner_id, now=now)
    back_office.wake()
    return made


def hold_key(withdrawal_id: int) -> str:
    """Return the key of the entry that holds the funds."""
    return f"withdrawal:{withdrawal_id}:hold"


def settle_key(withdrawal_id: int) -> str:
    """Return the key of the entry that lets the funds go."""
    return f"withdrawal:{withdrawal_id}:settle"


def release_key(withdrawal_id: int) -> str:
    """Return the key of the entry that gives the funds back."""
    return f"withdrawal:{withdrawal_id}:release"


def cancel(owner_id: int, withdrawal_id: int, *, now: datetime) -> Withdrawal:
    """Take a request back while nobody has approved it; the back office gives the funds back.

    Repeating it changes nothing.

    Raises:
        WithdrawalNotFoundError: There is none, or it is another customer's.
        WithdrawalMovedOnError: It has been approved, or has ended otherwise.
    """
    with transaction.atomic():
        accounts.lock([owner_id])
        found = one(owner_id, withdrawal_id)
        if found.state in {WithdrawalState.CANCELLING, WithdrawalState.CANCELLED}:
            return found
        if found.state not in CANCELLABLE:
            raise WithdrawalMovedOnError(withdrawal_id=withdrawal_id, state=str(found.state))
        steps.take(found, WithdrawalState.CANCELLING, by=owner_id, now=now)
        back_office.wake()
    return found


def one(owner_id: int, withdrawal_id: int) -> Withdrawal:
    """Return a customer's withdrawal.

    Raises:
        WithdrawalNotFoundError: There is none, or it is another customer's.
    """
    found = Withdrawal.objects.filter(pk=withdrawal_id, owner_id=owner_id).first()
    if found is None:
        raise WithdrawalNotFoundError(withdrawal_id=withdrawal_id)
    return found


def page(
    owner_id: int, *, asset: str | None = None, states: tuple[str, ...] = (), before_id: int | None = None, limit: int
) -> list[Withdrawal]:
    """Return a page of a customer's withdrawals, newest first."""
    rows = Withdrawal.objects.filter(owner_id=owner_id)
    if asset is not None:
        rows = rows.filter(asset_id=asset)
    if states:
        rows = rows.filter(state__in=states)
    if before_id is not None:
        rows = rows.filter(pk__lt=before_id)
    return list(rows.order_by("-pk")[:limit])
