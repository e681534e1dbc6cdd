"""Addresses of proofs of reserves, under /api/v1/."""

from django.urls import path

from ledger.reserves import api

urlpatterns = [
    path("reserves", api.ReservesListView.as_view(), name="api-reserves"),
    path("reserves/<int:publication_id>", api.ReservesView.as_view(), name="api-reserves-detail"),
    path("reserves/<int:publication_id>/proof", api.ReservesProofView.as_view(), name="api-reserves-proof"),
]
