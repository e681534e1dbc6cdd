"""Names that outside tools take, and never the same one twice."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.chart import CHART, AccountCode, Face
from ledger.exports import names
from ledger.exports.names import View

COMMODITY = re.compile(r"[A-Z](?:[A-Z0-9'._-]{0,22}[A-Z0-9])?")
ACCOUNT = re.compile(r"(Assets|Liabilities|Equity|Income|Expenses)(:[A-Z0-9][A-Za-z0-9-]*)+")
texts = st.text(min_size=1, max_size=16) | st.text("AX1-u._2B", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("asset", "commodity"),
    [
        ("BTC", "BTC"),
        ("T", "T"),
        ("BTC-PERP", "BTC-PERP"),
        ("2330", "X-2330"),
        ("1INCH", "X-1INCH"),
        ("X-1INCH", "X-X_2D1INCH"),
        ("TRUE", "X-TRUE"),
        ("USDT.e", "X-USDT_2E_65"),
        ("BTC/USDT", "X-BTC_2FUSDT"),
        ("a token's name", "X-D1D06684FAA1A9505AFF3F"),
    ],
)
def test_a_commodity_is_the_asset_where_beancount_allows_it(asset, commodity) -> None:
    assert names.commodity(asset) == commodity


@given(st.lists(texts, unique=True, max_size=30))
def test_commodities_are_legal_and_differ(assets) -> None:
    found = [names.commodity(asset) for asset in assets]

    assert len(set(found)) == len(assets)
    assert all(COMMODITY.fullmatch(name) and name not in {"TRUE", "FALSE", "NULL"} for name in found)


@given(st.lists(st.text(max_size=12) | texts, unique=True, max_size=30))
def test_parts_are_legal_and_differ(parts) -> None:
    found = [names.part(text) for text in parts]

    assert len(set(found)) == len(parts)
    assert all(re.fullmatch(r"[A-Z0-9][A-Za-z0-9-]*", name) for name in found)


@pytest.mark.parametrize(
    ("view", "code", "sub", "owner_id", "name"),
    [
        (View.USER, AccountCode.ORDER_HOLD, "", 7, "Assets:U7:Wallet:OrderHold"),
        (View.USER, AccountCode.MARGIN, "BTC-PERP", 7, "Assets:U7:Wallet:Margin:BTC-PERP"),
        (View.USER, AccountCode.MARGIN, "", 7, "Assets:U7:Wallet:Margin:X-"),
        (View.USER, AccountCode.DEBT, "", 7, "Liabilities:U7:Debt"),
        (View.USER, AccountCode.AVAILABLE, "odd", 7, "Assets:U7:Wallet:Available-X-odd"),
        (View.PLATFORM, AccountCode.ORDER_HOLD, "", 7, "Liabilities:User:OrderHold:U7"),
        (View.PLATFORM, AccountCode.DEBT, "", 7, "Assets:Receivable:U7"),
        (View.PLATFORM, AccountCode.CUSTODY, "cold_1", None, "Assets:Custody:X-cold-5F1"),
        (View.PLATFORM, AccountCode.REVENUE_TRADING_FEE, "", None, "Income:Revenue:TradingFee"),
    ],
)
def test_an_account_is_named_by_root_owner_and_part(view, code, sub, owner_id, name) -> None:
    assert names.account(view, code, sub, owner_id) == name


@pytest.mark.parametrize("view", View)
def test_all_accounts_have_legal_names_of_their_own_and_none_is_anothers_parent(view) -> None:
    codes = [code for code, row in CHART.items() if row.face in {Face.BOTH, Face(view.upper())}]
    keys = [
        (code, sub, None if CHART[code].face == Face.PLATFORM else owner_id)
        for code, sub, owner_id in itertools.product(codes, ["", "main", "Main", "U7", "BTC-PERP", "x.y"], [7, 77])
    ]

    found = {names.account(view, *key) for key in keys}

    assert len(found) == len(set(keys))
    assert all(ACCOUNT.fullmatch(name) for name in found)
    assert [name for name in found if any(other.startswith(f"{name}:") for other in found)] == []
