"""Where a customer sends money: an address out of stock, or the custody account's own with the customer's code as memo.

Codes are letters and digits with a check character, so that a typing error finds nobody rather than somebody else.
"""

import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import structlog
from django.db import transaction
from stdnum.iso7064 import mod_37_36

from exchange.kernel.errors import require
from ledger.services import accounts, finance_log
from ledger.transfers import address_formats, custody
from ledger.transfers.errors import NoDepositAddressError, RouteClosedError, TooManyAddressesError
from ledger.transfers.models import CustodyAccount, CustodyKind, DepositAddress

audit = structlog.get_logger("exchange.audit")

CODE_PREFIX: Final = "D"
CODE_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_RANDOM: Final = 8
_CODE: Final = re.compile(rf"\b{CODE_PREFIX}-?([0-9A-Z]{{{CODE_RANDOM + 1}}})\b")
_ATTEMPTS: Final = 5
STOCK_MAX: Final = 10_000


def new_code() -> str:
    """Return an unguessable code of 8 letters and digits behind a D, with a check character.

    Source: ISO/IEC 7064, MOD 37,36.
    """
    body = "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_RANDOM))
    return f"{CODE_PREFIX}-{body}{mod_37_36.calc_check_digit(body)}"


def codes_in(text: str) -> list[str]:
    """Return the codes that stand in the words of a transfer, whose check characters are right."""
    found = [match for match in _CODE.findall(text.upper()) if mod_37_36.is_valid(match)]
    return [f"{CODE_PREFIX}-{code}" for code in dict.fromkeys(found)]


def assign(owner_id: int, *, asset: str, network: str, now: datetime) -> DepositAddress:
    """Return where this customer sends the asset, assigned at the first call; the same at every later one.

    Raises:
        RouteClosedError: The asset does not come in on this network.
        NoDepositAddressError: The stock of addresses is used up.
    """
    if not custody.route(asset, network).deposits_open:
        raise RouteClosedError(asset=asset, network=network)
    with transaction.atomic():
        accounts.lock([owner_id])
        wanted = DepositAddress.objects.filter(
            owner_id=owner_id, custody__asset_id=asset, custody__network=network, custody__active=True
        )
        found = wanted.select_related("custody").order_by("pk").first()
        if found is not None:
            return found
        for account in custody.accounts_of(asset, network):
            made = _from_stock(account, owner_id, now)
            if made is None and account.kind != CustodyKind.CHAIN and account.address:
                made = _by_code(account, owner_id, now)
            if made is not None:
                audit.info("deposit_address_assigned", owner_id=owner_id, custody=account.sub, asset=asset)
                return made
    raise NoDepositAddressError


def _from_stock(account: CustodyAccount, owner_id: int, now: datetime) -> DepositAddress | None:
    """Take the oldest free address; two customers at once never get the same."""
    free = account.deposit_addresses.filter(owner__isnull=True).order_by("pk").select_for_update(skip_locked=True)
    found = free.first()
    if found is not None:
        found.owner_id, found.assigned_at = owner_id, now
        found.save(update_fields=["owner", "assigned_at"])
    return found


def _by_code(account: CustodyAccount, owner_id: int, now: datetime) -> DepositAddress:
    """Give the customer a code for the memo of a transfer to the account's own address."""
    for _ in range(_ATTEMPTS):
        code = new_code()
        if not DepositAddress.objects.filter(memo=code).exists():
            return DepositAddress.objects.create(
                custody=account, owner_id=owner_id, address=account.address, memo=code, assigned_at=now
            )
    require(False, f"no free code in {_ATTEMPTS} of 32^{CODE_RANDOM}")
    raise AssertionError


def stock(account: CustodyAccount, texts: Iterable[str], *, by: int, now: datetime) -> int:
    """Put addresses of a custody provider into stock; those that are there already stay. Return how many are new.

    Raises:
        AddressInvalidError: One is no address of the account's network; none was taken.
        TooManyAddressesError: There are more than can be taken at once.
    """
    spelt = dict.fromkeys(address_formats.normalised(account.network, text) for text in texts if text.strip())
    if len(spelt) > STOCK_MAX:
        raise TooManyAddressesError(limit=STOCK_MAX)
    with transaction.atomic():
        known = set(account.deposit_addresses.filter(address__in=spelt).values_list("address", flat=True))
        fresh = [text for text in spelt if text not in known]
        DepositAddress.objects.bulk_create(
            [DepositAddress(custody=account, address=text) for text in fresh], ignore_conflicts=True
        )
        finance_log.record("custody.stock", now=now, user_id=by, subject=account.sub, detail={"addresses": len(fresh)})
    return len(fresh)


def free(account: CustodyAccount) -> int:
    """Return how many addresses are left in stock."""
    return account.deposit_addresses.filter(owner__isnull=True).count()


def owners(account: CustodyAccount, transfers: Sequence[tuple[str, str]]) -> list[int | None]:
    """Return whom transfers are for, by the address they went to or a code in their words. Statements: 2.

    A code names its customer whatever asset comes with it: it was written by somebody who knows it.

    Args:
        transfers: Address and text of each.

    Returns:
        For each the owner; None where nobody, or more than one, is named.
    """
    codes = [codes_in(text) for _, text in transfers]
    by_address: dict[str, int] = dict(
        account.deposit_addresses.filter(
            address__in={address for address, _ in transfers if address}, memo="", owner__isnull=False
        ).values_list("address", "owner_id")
    )
    by_code: dict[str, int] = dict(
        DepositAddress.objects.filter(memo__in={code for found in codes for code in found}).values_list(
            "memo", "owner_id"
        )
    )
    named = [
        {by_address[address]} if address in by_address else {by_code[code] for code in found if code in by_code}
        for (address, _), found in zip(transfers, codes, strict=True)
    ]
    return [next(iter(people)) if len(people) == 1 else None for people in named]
