"""Addresses of a trader's calls, under /api/v1/."""

from django.urls import path

from trading import api

urlpatterns = [
    path("orders", api.OrdersView.as_view(), name="orders"),
    path("orders/batch", api.OrderBatchView.as_view(), name="orders-batch"),
    path("orders/<int:order_id>", api.OrderView.as_view(), name="order"),
    path("orders/<int:order_id>/reduce", api.OrderReduceView.as_view(), name="order-reduce"),
    path("fills", api.FillsView.as_view(), name="fills"),
    path("account", api.AccountView.as_view(), name="account"),
    path("positions", api.PositionsView.as_view(), name="positions"),
    path("trades/<str:symbol>", api.TradesView.as_view(), name="trades"),
]
