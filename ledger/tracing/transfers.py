"""What is known of deposits and withdrawals in a story: their terms and every step."""

from typing import Any, Final

from django.db.models import Q

from exchange.kernel.errors import gettext_noop
from exchange.kernel.money import plain
from ledger.tracing.story import FACTS_MAX, FOUND_MAX, Fact, Kind, Refs, Section, Teller, Term, Words
from ledger.transfers.models import DepositNotice, TransferEvent, Withdrawal


def _find(term: Term, **_: bool) -> Refs:
    """Find withdrawals by number and by the client's id, deposits by key and reference, and requests by trace."""
    found: Refs = {Kind.WITHDRAWAL: set(), Kind.DEPOSIT: set()}
    wanted = Q(pk__in=())
    if term.is_about(Kind.WITHDRAWAL):
        wanted |= Q(client_withdrawal_id=term.text)
        wanted |= Q(pk=term.number) if term.number is not None else Q(pk__in=())
    if term.is_about(Kind.TRACE):
        wanted |= Q(trace=term.text)
    found[Kind.WITHDRAWAL].update(Withdrawal.objects.filter(wanted).values_list("pk", flat=True)[:FOUND_MAX])
    wanted = Q(pk__in=())
    if term.is_about(Kind.DEPOSIT):
        wanted |= Q(key=term.text) | Q(reference=term.text)
        wanted |= Q(pk=term.number) if term.kind == Kind.DEPOSIT and term.number is not None else Q(pk__in=())
    if term.is_about(Kind.TRACE):
        wanted |= Q(trace=term.text)
    found[Kind.DEPOSIT].update(DepositNotice.objects.filter(wanted).values_list("pk", flat=True)[:FOUND_MAX])
    return found


def _belonging(refs: Refs, **_: bool) -> Refs:
    """Return the entries of withdrawals and deposits, and the deposits that entries credited."""
    entries: set[int] = set()
    withdrawals = Withdrawal.objects.filter(pk__in=refs.get(Kind.WITHDRAWAL, ()))
    for pair in withdrawals.values_list("hold_entry_id", "final_entry_id"):
        entries.update(number for number in pair if number)
    of_entries = Q(entry_id__in=refs.get(Kind.ENTRY, ())) | Q(receipt_entry_id__in=refs.get(Kind.ENTRY, ()))
    deposits = DepositNotice.objects.filter(Q(pk__in=refs.get(Kind.DEPOSIT, ())) | of_entries)
    found = set()
    for number, credit_id, receipt_id in deposits.values_list("pk", "entry_id", "receipt_entry_id")[:FACTS_MAX]:
        found.add(number)
        entries.update(entry for entry in (credit_id, receipt_id) if entry)
    return {Kind.ENTRY: entries, Kind.DEPOSIT: found}


def _tell(refs: Refs, **_: bool) -> list[Section]:
    withdrawals = sorted(refs.get(Kind.WITHDRAWAL, ()))
    deposits = sorted(refs.get(Kind.DEPOSIT, ()))
    return [
        Section(5, "deposits", "Deposits", _deposits(deposits)),
        Section(6, "withdrawals", "Withdrawals", _withdrawals(withdrawals)),
        Section(7, "steps", "Steps", _steps(withdrawals, deposits)),
    ]


def _deposits(numbers: list[int]) -> list[Fact]:
    return [
        Fact(
            row.created_at,
            Words(
                gettext_noop("deposit %(id)s of %(amount)s %(asset)s: %(state)s"),
                {
                    "id": row.pk,
                    "amount": plain(row.amount.amount),
                    "asset": row.amount.currency.code,
                    "state": row.state,
                },
            ),
            {
                "deposit": row.pk,
                "key": row.key,
                "owner": row.owner_id,
                "amount": plain(row.amount.amount),
                "asset": row.amount.currency.code,
                "state": str(row.state),
                "source": str(row.source),
                "reference": row.reference,
                "entry": row.entry_id,
                "receipt_entry": row.receipt_entry_id,
                "trace": row.trace,
            },
            (Kind.DEPOSIT, str(row.pk)),
        )
        for row in DepositNotice.objects.filter(pk__in=numbers).order_by("pk")[:FACTS_MAX]
    ]


def _withdrawals(numbers: list[int]) -> list[Fact]:
    return [
        Fact(
            row.requested_at,
            Words(
                gettext_noop("withdrawal %(id)s of %(amount)s %(asset)s: %(state)s"),
                {"id": row.pk, "amount": plain(row.amount), "asset": row.asset_id, "state": row.state},
            ),
            {
                "withdrawal": row.pk,
                "client_withdrawal_id": row.client_withdrawal_id,
                "owner": row.owner_id,
                "amount": plain(row.amount),
                "fee": plain(row.fee),
                "network_fee": plain(row.network_fee),
                "asset": row.asset_id,
                "network": row.network,
                "address": row.address,
                "state": str(row.state),
                "payout_reference": row.payout_reference,
                "reason": row.reason,
                "hold_entry": row.hold_entry_id,
                "final_entry": row.final_entry_id,
                "trace": row.trace,
            },
            (Kind.WITHDRAWAL, str(row.pk)),
        )
        for row in Withdrawal.objects.filter(pk__in=numbers).order_by("pk")[:FACTS_MAX]
    ]


def _steps(withdrawals: list[int], deposits: list[int]) -> list[Fact]:
    rows = TransferEvent.objects.filter(Q(withdrawal_id__in=withdrawals) | Q(deposit_id__in=deposits))
    return [
        Fact(row.at, _step_told(row), _step_details(row))
        for row in rows.select_related("by").order_by("pk")[:FACTS_MAX]
    ]


def _step_told(row: TransferEvent) -> Words:
    if row.withdrawal_id:
        text = gettext_noop("withdrawal %(id)s: from %(before)s to %(after)s by %(who)s")
    else:
        text = gettext_noop("deposit %(id)s: from %(before)s to %(after)s by %(who)s")
    return Words(
        text,
        {
            "id": row.withdrawal_id or row.deposit_id,
            "before": row.from_state or "-",
            "after": row.to_state,
            "who": row.by or "exchange",
        },
    )


def _step_details(row: TransferEvent) -> dict[str, Any]:
    return {"version": row.version, "detail": row.detail, "trace": row.trace}


TELLER: Final = Teller(_find, _belonging, _tell)
