"""What the books know of a story: entries with their lines in both views, comments, breaks, the finance log."""

from collections.abc import Iterable
from typing import Any, Final

from django.db import connection
from django.db.models import Q

from exchange.kernel.money import plain
from ledger.control_models import EntryAttachment, EntryComment, Proposal
from ledger.models import Break, FinanceLog, JournalEntry
from ledger.tracing.story import FACTS_MAX, FOUND_MAX, Fact, Kind, Refs, Section, Teller, Term

_JOURNALS: Final = ("user_journal", "platform_journal")
_LINES: Final = """
SELECT entry_id, n, owner_id, account, asset, sub, amount, balance_after FROM {view}
WHERE entry_id = ANY(%s) ORDER BY entry_id, n
"""


def _find(term: Term, **_: bool) -> Refs:
    """Find entries by number and key, and traces that entries carry."""
    found: Refs = {}
    if term.is_about(Kind.ENTRY) and term.number is not None:
        found[Kind.ENTRY] = set(JournalEntry.objects.filter(pk=term.number).values_list("pk", flat=True))
    if term.is_about(Kind.KEY):
        keyed = JournalEntry.objects.filter(key=term.text).values_list("pk", flat=True)
        found.setdefault(Kind.ENTRY, set()).update(keyed)
    if term.is_about(Kind.TRACE) and JournalEntry.objects.filter(trace=term.text).exists():
        found[Kind.TRACE] = {term.text}
    return found


def _belonging(refs: Refs, *, is_first: bool) -> Refs:
    """Return the entries of traces and keys; and of an entry its reversal, or what it reverses."""
    wanted = Q(trace__in=refs.get(Kind.TRACE, ())) if is_first else Q(pk__in=())
    wanted |= Q(key__in=refs.get(Kind.KEY, ()))
    if is_first:
        entries = refs.get(Kind.ENTRY, set())
        wanted |= Q(reverses_id__in=entries) | Q(reversed_by__pk__in=entries)
    found = set(JournalEntry.objects.filter(wanted).order_by("pk").values_list("pk", flat=True)[:FACTS_MAX])
    return {Kind.ENTRY: found} | (_sources(refs[Kind.ENTRY] | found) if refs.get(Kind.ENTRY) or found else {})


def _sources(entry_ids: Iterable[int]) -> Refs:
    """Return what made entries, by their keys: `order:17:freeze` is of order 17."""
    found: Refs = {}
    for key in JournalEntry.objects.filter(pk__in=list(entry_ids)[:FACTS_MAX]).values_list("key", flat=True):
        word, _, rest = key.partition(":")
        number = rest.partition(":")[0]
        if word in {Kind.ORDER, Kind.TRADE, Kind.WITHDRAWAL} and number.isascii() and number.isdigit():
            found.setdefault(Kind(word), set()).add(int(number))
    return found


def _tell(refs: Refs, **_: bool) -> list[Section]:
    entries = sorted(refs.get(Kind.ENTRY, ()))[: FACTS_MAX + 1]
    return [
        Section(50, "entries", "Journal entries", _entries(entries)),
        Section(55, "comments", "Comments", _comments(entries)),
        Section(80, "breaks", "Breaks", _breaks(refs)),
        Section(90, "finance_log", "Finance log", _log(refs)),
    ]


def _entries(entry_ids: list[int]) -> list[Fact]:
    """Return entries with their lines as users' journals and the platform's have them. Statements: 3."""
    if not entry_ids:
        return []
    views = {view: _lines(view, entry_ids) for view in _JOURNALS}
    return [
        Fact(
            entry.recorded_at,
            f"#{entry.pk} {entry.kind}",
            {
                "entry": entry.pk,
                "kind": entry.kind,
                "key": entry.key,
                "effective_at": entry.effective_at.isoformat(),
                "late": entry.late,
                "trace": entry.trace,
                "reverses": entry.reverses_id,
                "hash": bytes(entry.hash).hex(),
            },
            (Kind.ENTRY, str(entry.pk)),
            tuple((view, lines.get(entry.pk, [])) for view, lines in views.items()),
        )
        for entry in JournalEntry.objects.filter(pk__in=entry_ids).order_by("pk")
    ]


def _lines(view: str, entry_ids: list[int]) -> dict[int, list[dict[str, Any]]]:
    """Return lines by entry, as one journal shows them."""
    found: dict[int, list[dict[str, Any]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_LINES.format(view=view), [entry_ids])
        for entry_id, n, owner_id, account, asset, sub, amount, balance in cursor.fetchall():
            found.setdefault(entry_id, []).append(
                {
                    "n": n,
                    "owner": owner_id,
                    "account": f"{account}/{sub}" if sub else account,
                    "asset": asset,
                    "debit": plain(amount) if amount > 0 else "",
                    "credit": plain(amount.copy_negate()) if amount < 0 else "",
                    "balance": plain(balance),
                }
            )
    return found


def _comments(entry_ids: list[int]) -> list[Fact]:
    comments = EntryComment.objects.filter(entry_id__in=entry_ids).select_related("author").order_by("pk")
    files = EntryAttachment.objects.filter(entry_id__in=entry_ids).order_by("pk")
    return [
        Fact(row.made_at, f"#{row.entry_id} {row.author}: {row.text}", {"entry": row.entry_id, "text": row.text})
        for row in comments[:FACTS_MAX]
    ] + [Fact(None, f"#{row.entry_id} {row}", {"entry": row.entry_id}) for row in files[:FACTS_MAX]]


def _breaks(refs: Refs) -> list[Fact]:
    """Return the breaks whose subjects name things of the story, or keys of entries that were refused."""
    wanted = Q(pk__in=())
    for kind in (Kind.ORDER, Kind.TRADE, Kind.ENTRY):
        for number in sorted(refs.get(kind, ()))[:FOUND_MAX]:
            subject = f"{kind} {number}"
            wanted |= Q(subject=subject) | Q(subject__startswith=f"{subject},")
            wanted |= Q(subject__startswith=f"entry of {kind}:{number}") if kind != Kind.ENTRY else Q(pk__in=())
    wanted |= Q(subject__in=sorted(refs.get(Kind.KEY, ()))[:FACTS_MAX])
    rows = Break.objects.filter(wanted).order_by("pk")[:FACTS_MAX]
    return [
        Fact(
            row.first_seen_at,
            f"{row.check_name}: {row.subject}",
            {"break": row.pk, "state": str(row.state), "cause": row.told},
        )
        for row in rows
    ]


_LOGGED_AS: Final = {
    Kind.ENTRY: ("entry.", "journal_entry."),
    Kind.ORDER: ("order.",),
    Kind.TRADE: ("trade.",),
    Kind.WITHDRAWAL: ("withdrawal.",),
    Kind.DEPOSIT: ("deposit.", "deposit_notice."),
}
"""How the finance log's actions begin, where its subject is a number of this kind."""


def _log(refs: Refs) -> list[Fact]:
    """Return what staff saw and did of the story's things."""
    facts = []
    for kind, prefixes in _LOGGED_AS.items():
        subjects = [str(one) for one in sorted(refs.get(kind, ()), key=str)[:FOUND_MAX]]
        if not subjects:
            continue
        actions = Q(pk__in=())
        for prefix in prefixes:
            actions |= Q(action__startswith=prefix)
        rows = FinanceLog.objects.filter(actions, subject__in=subjects).select_related("user").order_by("pk")
        facts += [_logged(row) for row in rows[:FACTS_MAX]]
    proposals = Proposal.objects.filter(entry_id__in=refs.get(Kind.ENTRY, ())).values_list("pk", flat=True)[:FOUND_MAX]
    others = Q(action="suspense.repost", subject__in=refs.get(Kind.KEY, ()))
    others |= Q(action__startswith="proposal.", subject__in=[str(one) for one in proposals])
    rows = FinanceLog.objects.filter(others).select_related("user").order_by("pk")
    return facts + [_logged(row) for row in rows[:FACTS_MAX]]


def _logged(row: FinanceLog) -> Fact:
    return Fact(row.at, f"{row.user or 'exchange'}: {row.action} {row.subject}", {"detail": row.detail})


TELLER: Final = Teller(_find, _belonging, _tell)
