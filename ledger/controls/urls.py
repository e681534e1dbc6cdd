"""Addresses of the finance pages of controls, under /admin/finance/."""

from django.urls import path

from ledger.controls import entry_views as entries
from ledger.controls import views

urlpatterns = [
    path("periods", views.period_list, name="periods"),
    path("periods/<slug:what>", views.period_ask, name="period_ask"),
    path("proposals", views.proposal_list, name="proposals"),
    path("proposals/new", views.proposal_new, name="proposal_new"),
    path("proposals/<int:proposal_id>", views.proposal_shown, name="proposal"),
    path("proposals/<int:proposal_id>/decide", views.proposal_decide, name="proposal_decide"),
    path("proposals/<int:proposal_id>/withdraw", views.proposal_withdraw, name="proposal_withdraw"),
    path("entries/<int:entry_id>/reverse", entries.reverse_entry, name="entry_reverse"),
    path("entries/<int:entry_id>/comment", entries.comment, name="entry_comment"),
    path("entries/<int:entry_id>/attach", entries.attach, name="entry_attach"),
    path("attachments/<int:attachment_id>", entries.download, name="attachment"),
    path("log", views.log, name="log"),
]
