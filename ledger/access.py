"""Who may see and do what in the finance screens: rights, the roles that bundle them, and the guard of a page.

The rights are Django permissions of `FinanceLog`, so that an administrator may also give a single one. Roles are
groups of the same names; `services/roles.py` renews them after every migrate. A superuser has every right, but the
rule that maker and checker are two people holds for superusers too.
"""

import functools
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext_lazy as _

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError, gettext_noop
from ledger.services import finance_log


class Right(StrEnum):
    """One thing that staff may see or do. Names are permanent: they are stored as permissions."""

    VIEW_BOOKS = "view_books"
    VIEW_CUSTOMERS = "view_customers"
    EXPORT_BOOKS = "export_books"
    RECORD_DEPOSITS = "record_deposits"
    APPROVE_DEPOSITS = "approve_deposits"
    REVIEW_WITHDRAWALS = "review_withdrawals"
    APPROVE_WITHDRAWALS = "approve_withdrawals"
    IMPORT_STATEMENTS = "import_statements"
    MANAGE_CUSTODY = "manage_custody"
    EDIT_CUSTOMERS = "edit_customers"
    MAKE_ENTRIES = "make_entries"
    APPROVE_ENTRIES = "approve_entries"
    CLOSE_PERIODS = "close_periods"
    COMMENT = "comment_entries"
    WORK_ON_BREAKS = "work_on_breaks"
    PUBLISH_RESERVES = "publish_reserves"
    VIEW_LOG = "view_log"


class Role(StrEnum):
    """A bundle of rights: the group of that name."""

    ACCOUNTANT = "accountant"
    APPROVER = "approver"
    AUDITOR = "auditor"
    SUPPORT = "support"


_READING: Final = frozenset({Right.VIEW_BOOKS, Right.VIEW_CUSTOMERS, Right.EXPORT_BOOKS, Right.VIEW_LOG})

RIGHTS: Final[dict[Role, frozenset[Right]]] = {
    Role.ACCOUNTANT: _READING
    | {
        Right.RECORD_DEPOSITS,
        Right.REVIEW_WITHDRAWALS,
        Right.IMPORT_STATEMENTS,
        Right.EDIT_CUSTOMERS,
        Right.MAKE_ENTRIES,
        Right.COMMENT,
        Right.WORK_ON_BREAKS,
    },
    Role.APPROVER: _READING
    | {
        Right.APPROVE_DEPOSITS,
        Right.APPROVE_WITHDRAWALS,
        Right.MANAGE_CUSTODY,
        Right.APPROVE_ENTRIES,
        Right.CLOSE_PERIODS,
        Right.COMMENT,
        Right.WORK_ON_BREAKS,
        Right.PUBLISH_RESERVES,
    },
    Role.AUDITOR: _READING,
    Role.SUPPORT: frozenset({Right.VIEW_CUSTOMERS}),
}

ROLE_NAMES: Final = {
    Role.ACCOUNTANT: _("accountant"),
    Role.APPROVER: _("approver"),
    Role.AUDITOR: _("auditor"),
    Role.SUPPORT: _("support"),
}

Person = AbstractUser | AnonymousUser
Answer = HttpResponse | StreamingHttpResponse
View = Callable[..., Answer]


class NotAllowedError(DomainError):
    """The person's role does not include this."""

    code = 4020
    name = "FINANCE_RIGHT_MISSING"
    status = 403
    message = gettext_noop("This needs the right %(right)s.")


def may(user: Person | None, right: Right) -> bool:
    """Tell whether a person has a right: active staff with the permission, or a superuser."""
    return bool(
        user is not None and user.is_active and getattr(user, "is_staff", False) and user.has_perm(f"ledger.{right}")
    )


def check(user: Person | None, right: Right) -> None:
    """Refuse who lacks a right.

    Raises:
        NotAllowedError: The person is not staff, or the role does not include it.
    """
    if not may(user, right):
        raise NotAllowedError(right=str(right))


def page(right: Right, *, action: str) -> Callable[[View], View]:
    """Guard a finance page, give it the admin's frame, and write down who saw or did what.

    The view is called with `context` as its second argument: the admin site's own context, to be handed on to a
    template that extends `ledger/finance_base.html`. The visit is logged before the view runs; what the view does
    besides is its own to log.

    Args:
        right: What a visitor needs; others are refused, visitors who are not signed in are sent to the sign-in page.
        action: What the log calls the visit, such as `balance_sheet.view`.
    """

    def guarded(view: View) -> View:
        @functools.wraps(view)
        def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> Answer:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path(), settings.LOGIN_URL)
            if not may(request.user, right):
                raise PermissionDenied
            subject = "/".join(str(value) for value in kwargs.values())
            finance_log.record_request(request, action, subject=subject, now=utc_now())
            request.current_app = admin.site.name
            return view(request, admin.site.each_context(request), *args, **kwargs)

        return shown

    return guarded
