"""Addresses of sign-up, sign-in and demo funds, under /api/v1/."""

from django.urls import path

from exchange.users import api

urlpatterns = [
    path("auth/register", api.RegisterView.as_view(), name="register"),
    path("auth/token", api.TokenView.as_view(), name="token"),
    path("auth/token/refresh", api.RefreshView.as_view(), name="token-refresh"),
    path("auth/logout", api.LogoutView.as_view(), name="logout-api"),
    path("users/me", api.MeView.as_view(), name="me"),
    path("faucet", api.FaucetView.as_view(), name="faucet"),
]
