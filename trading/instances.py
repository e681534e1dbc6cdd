"""Makes instances of a model at once, for the order's road, which makes several for each order."""

import functools
from collections.abc import Collection
from typing import Any, Self

from django.db import models
from django.db.models.base import ModelState


class MadeAtOnce(models.Model):
    """A model whose instances are filled in one go; Django's way, field by field, takes many times as long.

    It has no relations, and nobody listens to Django's signals about it.
    """

    class Meta:
        abstract = True

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any]) -> Self:  # type: ignore[override]  # newer stubs
        """Make the instance of a row; one with only some of the fields is made in Django's way."""
        if len(values) != len(cls._meta.concrete_fields):
            return super().from_db(db, field_names, values)
        return cls._filled(dict(zip(field_names, values, strict=True)), db=db, adding=False)

    @classmethod
    def common(cls, **values: Any) -> dict[str, Any]:
        """Return what many new instances have in common, for `like`: these values, and the others' defaults."""
        return _defaults(cls) | values

    @classmethod
    def like(cls, common: dict[str, Any]) -> Self:
        """Make an instance that is not stored yet, with what it has in common with others; the caller sets the rest."""
        return cls._filled(common.copy(), db=None, adding=True)

    @classmethod
    def _filled(cls, values: dict[str, Any], *, db: str | None, adding: bool) -> Self:
        """Make an instance with all its fields; the values become its own."""
        made = cls.__new__(cls)
        made.__dict__ = values
        state = ModelState()
        state.db, state.adding = db, adding
        made._state = state  # noqa: SLF001 -- our own
        return made


@functools.cache
def _defaults(model: type[models.Model]) -> dict[str, Any]:
    """Return what each of a model's fields has when nobody names it."""
    return {field.attname: field.get_default() for field in model._meta.concrete_fields}  # noqa: SLF001 -- public
