"""Remembers what hash chains said when they were checked, so that a history that is written anew contradicts it.

A chain alone proves only that it is consistent: whoever can rewrite the tables can hash them again. What was seen is
therefore kept apart: in the check's mark, where the next look begins, and every CHECKPOINT_STEP numbers as a row that
every full run holds against the chain.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final

from ledger.reconciliation.checks import Finding, Position, Scope, Store
from ledger.reconciliation.models import HashCheckpoint

CHECKPOINT_STEP: Final = 5_000
REWRITTEN: Final = "rewritten"
"""The cause of a contradiction, in the checks that use this."""


def remembered(noun: str, scope: Scope) -> dict[int, str]:
    """Return what the mark and the unresolved breaks remember: number -> hash in hex."""
    marked = {scope.position[noun]: scope.position["hash"]} if scope.position.get("hash") else {}
    return marked | {place["number"]: place["hash"] for place in scope.again if isinstance(place, dict)}


def checkpoints(stream: str) -> dict[int, str]:
    """Return every hash that was kept of a stream: number -> hash in hex."""
    rows = HashCheckpoint.objects.filter(stream=stream).values_list("number", "hash")
    return {number: bytes(digest).hex() for number, digest in rows}


def contradicted(noun: str, was: Mapping[int, str], stored: Mapping[int, bytes], **place: int) -> list[Finding]:
    """Return where the chain says something else now than it did.

    Args:
        noun: What is numbered, as in `entry 17`.
        was: Number -> hash in hex, as it was seen.
        stored: Number -> hash as it is now; absent where there is nothing of that number any more.
        place: What else the check needs, to look again.
    """
    return [
        Finding(
            f"{noun}{number} as it was checked",
            REWRITTEN,
            {"number": number, "was": digest},
            place={"number": number, "hash": digest, **place},
        )
        for number, digest in sorted(was.items())
        if stored.get(number, b"").hex() != digest
    ]


def advance(
    stream: str, noun: str, position: Position, upto: int, digest: bytes | None
) -> tuple[Position, Store | None]:
    """Return the new mark, and how to keep the hash if one is due."""
    kept = position.get("kept", 0)
    if digest is None:
        return {noun: upto, "hash": "", "kept": kept}, None
    due = upto - kept >= CHECKPOINT_STEP or not kept
    moved: Position = {noun: upto, "hash": digest.hex(), "kept": upto if due else kept}
    return moved, partial(_keep, stream, upto, digest) if due else None


def _keep(stream: str, number: int, digest: bytes, now: datetime) -> None:
    HashCheckpoint.objects.bulk_create(
        [HashCheckpoint(stream=stream, number=number, hash=digest, made_at=now)], ignore_conflicts=True
    )
