"""Who may see the finance screens, and what the log keeps of it."""

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.test import RequestFactory

from ledger import access
from ledger.access import RIGHTS, Answer, NotAllowedError, Right, Role
from ledger.models import FinanceLog
from ledger.services import finance_log, roles
from ledger.tests.factories import NOW

pytestmark = pytest.mark.django_db


@access.page(Right.VIEW_BOOKS, action="test.view")
def books(request: HttpRequest, context: dict, number: int) -> HttpResponse:
    return render(request, "ledger/finance_base.html", {**context, "title": f"Entry {number}"})


@pytest.fixture
def staff(django_user_model):
    def make(role: Role | None, *, is_staff: bool = True):
        user = django_user_model.objects.create_user(str(role), password="x", is_staff=is_staff)
        if role is not None:
            roles.grant(user.pk, role)
        return user

    return make


def visit(user) -> Answer:
    request = RequestFactory().get("/admin/finance/entry/7?asset=USDT")
    request.user = user
    return books(request, number=7)


@pytest.mark.parametrize("role", Role)
def test_each_role_has_exactly_its_rights(staff, role) -> None:
    user = staff(role)

    assert {right for right in Right if access.may(user, right)} == RIGHTS[role]


def test_a_role_without_staff_status_has_no_right(staff) -> None:
    user = staff(Role.ACCOUNTANT, is_staff=False)

    assert not any(access.may(user, right) for right in Right)


def test_a_missing_right_is_refused_by_name(staff) -> None:
    with pytest.raises(NotAllowedError) as refused:
        access.check(staff(Role.AUDITOR), Right.MAKE_ENTRIES)

    assert refused.value.data == {"right": "make_entries"}


def test_every_migrate_gives_a_role_exactly_its_rights_again() -> None:
    group = Group.objects.get(name="auditor")
    other = Group.objects.get(name="approver").permissions.get(codename="close_periods")
    group.permissions.add(other)

    roles.renew("default")

    assert set(group.permissions.values_list("codename", flat=True)) == set(RIGHTS[Role.AUDITOR])


def test_a_visit_is_shown_in_the_admins_frame_and_logged(staff) -> None:
    auditor = staff(Role.AUDITOR)

    text = visit(auditor).content.decode()

    assert "Entry 7" in text
    assert 'class="finance"' in text
    [row] = FinanceLog.objects.values("user_id", "action", "subject", "detail")
    assert row == {
        "user_id": auditor.pk,
        "action": "test.view",
        "subject": "7",
        "detail": {"method": "GET", "query": "asset=USDT"},
    }


def test_who_lacks_the_right_is_refused_and_nothing_is_shown(staff) -> None:
    with pytest.raises(PermissionDenied):
        visit(staff(Role.SUPPORT))

    assert not FinanceLog.objects.exists()


def test_a_visitor_who_is_not_signed_in_is_sent_to_the_sign_in_page() -> None:
    answer = visit(AnonymousUser())

    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/login")


@pytest.mark.parametrize("attack", ["UPDATE ledger_financelog SET action = 'x'", "DELETE FROM ledger_financelog"])
@pytest.mark.parametrize("role", [None, "exchange_web", "exchange_back_office"])
def test_nobody_changes_the_log(attack, role) -> None:
    finance_log.record("test.done", now=NOW)

    with transaction.atomic(), connection.cursor() as cursor:
        if role:
            cursor.execute(f"SET LOCAL ROLE {role}")
        with pytest.raises(DatabaseError), transaction.atomic():
            cursor.execute(attack)
        cursor.execute("RESET ROLE")

    assert FinanceLog.objects.get().action == "test.done"
