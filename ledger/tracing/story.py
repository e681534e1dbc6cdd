"""What a story is made of, and the asking of tellers. Writes nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from django.utils.translation import gettext

from exchange.kernel.errors import DomainError, gettext_noop
from ledger import audit

FACTS_MAX: Final = 500
"""Facts of one section; of more it is said that there are more."""
FOUND_MAX: Final = 50
"""Things that one term may name."""
TERM_LENGTH_MAX: Final = 140
ID_DIGITS_MAX: Final = 18


class Kind(StrEnum):
    """What a story can be about; also the word before the colon, where a number alone could be several things."""

    ORDER = "order"
    TRADE = "trade"
    ENTRY = "entry"
    KEY = "key"
    TRACE = "trace"
    CLIENT = "client"
    WITHDRAWAL = "withdrawal"
    DEPOSIT = "deposit"


class NothingFoundError(DomainError):
    """Nothing is known under this name."""

    code = 4085
    name = "NOTHING_TO_TRACE"
    status = 404
    message = gettext_noop(
        "Nothing is known as %(term)s: no order, trade, entry, key, trace id, client order id, withdrawal or deposit."
    )


class Term(NamedTuple):
    """What was asked for.

    Args:
        kind: Which kind of thing, if it was said: `order:17`.
        text: Its id.
    """

    kind: Kind | None
    text: str

    @classmethod
    def parse(cls, text: str) -> "Term":
        """Read `17`, `order:17`, `#17`, a key, a trace id.

        A key that begins as a kind does, such as `order:17:freeze`, is a key: ids have no colon, but keys may.
        """
        text = text.strip()[:TERM_LENGTH_MAX]
        word, colon, rest = text.partition(":")
        if colon and word in set(Kind) and rest:
            kind = Kind(word)
            if kind in {Kind.KEY, Kind.CLIENT, Kind.DEPOSIT} or ":" not in rest:
                return cls(kind, rest)
        return cls(None, text.removeprefix("#"))

    @property
    def number(self) -> int | None:
        """The id as a number, if it can be one."""
        text = self.text
        return int(text) if text.isascii() and text.isdigit() and len(text) <= ID_DIGITS_MAX else None

    def is_about(self, *kinds: Kind) -> bool:
        """Whether it may name a thing of one of these kinds."""
        return self.kind is None or self.kind in kinds


Refs = dict[Kind, set[Any]]
"""Things by kind: ids, keys, traces."""


def merge(into: Refs, more: Refs) -> None:
    """Add references to others."""
    for kind, found in more.items():
        into.setdefault(kind, set()).update(found)


class Words(NamedTuple):
    """A short sentence about a fact: English as text, as a page's reader reads it by `told`.

    Args:
        text: Of the translations, with `%(name)s` for values.
        values: Kinds, numbers, states as they are stored.
    """

    text: str
    values: Mapping[str, Any]

    def __str__(self) -> str:
        return self.text % self.values

    @property
    def told(self) -> str:
        """The sentence in the language of now."""
        return gettext(self.text) % self.values


class Fact(NamedTuple):
    """One thing that happened, or stands.

    Args:
        what: It, in a few words; a plain text has nothing to translate.
        details: What else is known of it, as JSON takes it.
        about: The kind and id under which its own story is told.
        tables: Lines and the like: title and rows.
    """

    at: datetime | None
    what: Words | str
    details: dict[str, Any] = {}
    about: tuple[Kind, str] | None = None
    tables: tuple[tuple[str, list[dict[str, Any]]], ...] = ()


@dataclass
class Section:
    """Facts of one sort, in order of time.

    Args:
        place: Where it stands in the story: the road's order.
        title: For people, a text of the translations.
    """

    place: int
    name: str
    title: str
    facts: list[Fact] = field(default_factory=list)
    more: bool = False


@dataclass(frozen=True)
class Teller:
    """Somebody who knows part of every story.

    Args:
        find: `find(term, thorough=...)`: what a term names; thorough allows slow searches.
        belonging: `belonging(refs, is_first=...)`: what belongs to things: first to those that were found, then to all.
        tell: `tell(refs, thorough=...)`: the sections about things.
    """

    find: Callable[..., Refs]
    belonging: Callable[..., Refs]
    tell: Callable[..., Iterable[Section]]


_TELLERS: list[Teller] = []


def register(teller: Teller) -> None:
    """Add somebody who knows; done once, when an app is ready."""
    _TELLERS.append(teller)


@dataclass
class Story:
    """Everything that is known.

    Args:
        found: What the term named.
    """

    term: Term
    found: Refs
    sections: list[Section]


def tell(text: str, *, thorough: bool) -> Story:
    """Tell the story of what a term names, as of one moment.

    Args:
        thorough: Take the time that it needs: search whole tables, replay the log for the engine's events. Pages, which
            must answer at once, leave that out.

    Raises:
        NothingFoundError: There is no such thing.
    """
    term = Term.parse(text)
    with audit.snapshot():
        found: Refs = {}
        for teller in _TELLERS:
            merge(found, teller.find(term, thorough=thorough))
        if not any(found.values()) or not term.text:
            raise NothingFoundError(term=text.strip()[:TERM_LENGTH_MAX])
        refs: Refs = {}
        merge(refs, found)
        for is_first in (True, False):
            belongs: Refs = {}
            for teller in _TELLERS:
                merge(belongs, teller.belonging(found if is_first else refs, is_first=is_first))
            merge(refs, belongs)
        sections = [section for teller in _TELLERS for section in teller.tell(refs, thorough=thorough) if section.facts]
    return Story(term, found, sorted(map(_ordered, sections), key=lambda section: section.place))


def _ordered(section: Section) -> Section:
    """Put facts in order of time, those without one last, and cut what is too long."""
    section.facts.sort(key=lambda fact: (fact.at is None, fact.at.timestamp() if fact.at else 0))
    section.more = len(section.facts) > FACTS_MAX
    del section.facts[FACTS_MAX:]
    return section


def as_json(story: Story) -> dict[str, Any]:
    """Return a story as JSON takes it."""
    return {
        "term": story.term.text,
        "found": {str(kind): sorted(map(str, ids)) for kind, ids in sorted(story.found.items()) if ids},
        "sections": [
            {
                "name": section.name,
                "more": section.more,
                "facts": [
                    {
                        "at": None if fact.at is None else fact.at.isoformat(),
                        "what": str(fact.what),
                        **fact.details,
                        **dict(fact.tables),
                    }
                    for fact in section.facts
                ],
            }
            for section in story.sections
        ],
    }


def kinds(refs: Refs) -> Iterator[tuple[Kind, str]]:
    """Yield what was found, one by one."""
    for kind, ids in sorted(refs.items()):
        for one in sorted(map(str, ids)):
            yield kind, one
