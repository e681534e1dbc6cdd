"""Addresses of the pages."""

from django.contrib.auth.views import LogoutView
from django.urls import path
from django.views.i18n import JavaScriptCatalog, set_language

from exchange.web import security, statement, transfers, views

app_name = "web"

urlpatterns = [
    path("", views.markets, name="markets"),
    path("trade", views.latest_market, name="trade"),
    path("trade/<str:symbol>", views.terminal, name="trade"),
    path("signup", views.sign_up, name="signup"),
    path("login", views.sign_in, name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("demo-account", views.demo_account, name="demo_account"),
    path("account", views.account, name="account"),
    path("account/statement", statement.page, name="statement"),
    path("account/statement.<slug:ending>", statement.file, name="statement_file"),
    path("account/faucet", views.demo_funds, name="faucet"),
    path("account/deposit", transfers.deposit, name="deposit"),
    path("account/withdraw", transfers.withdraw, name="withdraw"),
    path("account/withdraw/<int:withdrawal_id>/cancel", transfers.cancel, name="withdraw_cancel"),
    path("account/addresses", transfers.address_book, name="addresses"),
    path("account/addresses/<int:address_id>/remove", transfers.remove_address, name="address_remove"),
    path("account/notices", transfers.notice_list, name="notices"),
    path("account/notices/read", transfers.notices_read, name="notices_read"),
    path("account/security", security.page, name="security"),
    path("account/security/start", security.start, name="security_start"),
    path("account/security/finish", security.finish, name="security_finish"),
    path("account/security/remove", security.remove, name="security_remove"),
    path("language", set_language, name="set_language"),
    path("jsi18n", JavaScriptCatalog.as_view(), name="jsi18n"),
]
