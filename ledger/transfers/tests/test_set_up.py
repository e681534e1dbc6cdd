"""The admin's part: who sets up custody accounts, routes, tiers and limits, and that the log says so."""

import pytest

from ledger.models import CustodyAccount, FinanceLog, TransferRoute, WithdrawalLimit

pytestmark = pytest.mark.django_db


def test_the_approver_sets_up_custody_routes_and_limits_and_the_log_says_so(people, desk) -> None:
    approver = people["approver"].client
    custody = {
        "asset": "USDT",
        "sub": "cold",
        "kind": "CHAIN",
        "network": "TRON",
        "name": "Cold",
        "confirmations": 20,
        "second_person_above": 0,
        "active": "on",
    }
    assert approver.post("/admin/ledger/custodyaccount/add/", custody).status_code == 302
    route = TransferRoute.objects.get()
    changed = {"asset": "USDT", "network": "TRON", "withdraw_fee": 2, "withdraw_min": 10, "deposits_open": "on"}
    assert approver.post(f"/admin/ledger/transferroute/{route.pk}/change/", changed).status_code == 302
    limit = {"tier": "VIP", "asset": "USDT", "per_day": 5, "per_month": 9}
    assert approver.post("/admin/ledger/withdrawallimit/add/", limit).status_code == 302

    cold = CustodyAccount.objects.get(sub="cold")
    route.refresh_from_db()
    assert (cold.confirmations, route.withdraw_fee, route.withdrawals_open) == (20, 2, False)
    assert WithdrawalLimit.objects.filter(tier="VIP").exists()
    logged = {row.action: row.detail for row in FinanceLog.objects.filter(user=desk.approver)}
    assert logged["transferroute.change"]["withdraw_fee"] == "2"
    assert {"custodyaccount.add", "transferroute.change", "withdrawallimit.add"} <= set(logged)


def test_others_see_the_set_up_and_change_nothing(people, desk) -> None:
    for role in ("accountant", "auditor"):
        client = people[role].client
        assert client.get("/admin/ledger/transferroute/").status_code == 200
        assert client.get("/admin/ledger/withdrawallimit/add/").status_code == 403
        custody = client.post(f"/admin/ledger/custodyaccount/{desk.custody.pk}/change/", {"second_person_above": 10**9})
        assert custody.status_code == 403
    assert people["support"].client.get("/admin/ledger/transferroute/").status_code == 403
    for client in (people["approver"].client, people["accountant"].client):
        assert (
            client.post(f"/admin/ledger/custodyaccount/{desk.custody.pk}/delete/", {"post": "yes"}).status_code == 403
        )
    desk.custody.refresh_from_db()
    assert desk.custody.second_person_above == 500
