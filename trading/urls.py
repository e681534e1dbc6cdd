"""Addresses of a trader's calls, under /api/v1/."""

from django.urls import path

from trading import api, api_positions

urlpatterns = [
    path("orders", api.OrdersView.as_view(), name="orders"),
    path("orders/batch", api.OrderBatchView.as_view(), name="orders-batch"),
    path("orders/preview", api.OrderPreviewView.as_view(), name="orders-preview"),
    path("orders/<int:order_id>", api.OrderView.as_view(), name="order"),
    path("orders/<int:order_id>/reduce", api.OrderReduceView.as_view(), name="order-reduce"),
    path("fills", api.FillsView.as_view(), name="fills"),
    path("account", api.AccountView.as_view(), name="account"),
    path("positions", api_positions.PositionsView.as_view(), name="positions"),
    path("positions/<str:symbol>", api_positions.PositionView.as_view(), name="position"),
    path("positions/<str:symbol>/history", api_positions.PositionHistoryView.as_view(), name="position-history"),
    path("positions/<str:symbol>/leverage", api_positions.PositionLeverageView.as_view(), name="position-leverage"),
    path("positions/<str:symbol>/margin", api_positions.PositionMarginView.as_view(), name="position-margin"),
    path("positions/<str:symbol>/close", api_positions.PositionCloseView.as_view(), name="position-close"),
    path("positions/<str:symbol>/reverse", api_positions.PositionReverseView.as_view(), name="position-reverse"),
    path("trades/<str:symbol>", api.TradesView.as_view(), name="trades"),
]
