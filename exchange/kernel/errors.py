"""The only base of refusals (a result for the caller) and of broken invariants (the process stops)."""

from typing import Any, ClassVar


def gettext_noop(message: str) -> str:
    """Mark a message for translation without needing Django; the API's envelope translates it."""
    return message


class DomainError(Exception):
    """A refusal: what was asked cannot be done, and nothing was changed.

    Subclasses stand beside the service that raises them. `code` and `name` are permanent: clients
    store them. `message` is a template over the keyword arguments given to the constructor.
    """

    code: ClassVar[int] = 1000
    name: ClassVar[str] = "DOMAIN_ERROR"
    status: ClassVar[int] = 422
    message: ClassVar[str] = gettext_noop("The request was refused.")

    def __init__(self, **data: Any) -> None:
        super().__init__(data)
        self.data = data

    def __str__(self) -> str:
        return self.message % self.data

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.data == getattr(other, "data", None)

    def __hash__(self) -> int:
        return hash((type(self), repr(self.data)))


class InvariantViolationError(Exception):
    """A bug: something that must always hold does not. Nobody catches it; the process stops."""


def require(condition: object, message: str) -> None:
    """Stop the process unless `condition` holds; unlike `assert` it survives `python -O`."""
    if not condition:
        raise InvariantViolationError(message)


def error_table() -> list[type[DomainError]]:
    """Return every loaded refusal class, by code; the published table of the API."""
    found: list[type[DomainError]] = []
    queue = [DomainError]
    while queue:
        cls = queue.pop()
        found.append(cls)
        queue.extend(cls.__subclasses__())
    return sorted(found, key=lambda cls: cls.code)
