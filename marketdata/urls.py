"""Addresses of public market data, under /api/v1/."""

from django.urls import path

from marketdata import api

urlpatterns = [
    path("instruments", api.InstrumentsView.as_view(), name="instruments"),
    path("depth/<str:symbol>", api.DepthView.as_view(), name="depth"),
    path("auction/<str:symbol>", api.AuctionView.as_view(), name="auction"),
    path("klines/<str:symbol>", api.KlinesView.as_view(), name="klines"),
    path("ticker/<str:symbol>", api.TickerView.as_view(), name="ticker"),
    path("time", api.TimeView.as_view(), name="time"),
]
