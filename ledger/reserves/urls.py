"""Addresses of the public pages of proofs of reserves."""

from django.urls import path

from ledger.reserves import views

app_name = "reserves"

urlpatterns = [
    path("reserves", views.latest, name="latest"),
    path("reserves/verify.py", views.verifier, name="verifier"),
    path("reserves/<int:publication_id>", views.detail, name="detail"),
    path("reserves/<int:publication_id>/proof.json", views.own_proof, name="own_proof"),
    path("reserves/<int:publication_id>/statement.json", views.statement, name="statement"),
]
