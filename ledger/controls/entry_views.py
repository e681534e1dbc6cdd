"""What staff do to one journal entry: propose its reversal, comment on it, attach files to it, fetch them."""

from collections.abc import Callable
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from exchange.api.envelope import refusal_message
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger import access
from ledger.access import Right
from ledger.control_models import EntryAttachment, EntryComment, Proposal
from ledger.controls.forms import CommentForm, FileForm, ReasonForm
from ledger.controls.views import person, told
from ledger.models import JournalEntry
from ledger.services import attachments, comments, reversal
from ledger.services.journal import EntryUnknownError

COMMENTS_SHOWN: Final = 200
Context = dict[str, Any]


def controls_of(request: HttpRequest, entry_id: int) -> Context:
    """Return what an entry's page shows below it, and which of it this person may do."""
    entry = JournalEntry.objects.filter(pk=entry_id).first()
    if entry is None:
        return {}
    can_be_reversed = entry.reverses_id is None and entry.kind not in reversal.MIRRORED
    reversed_by = JournalEntry.objects.filter(reverses_id=entry_id).values_list("pk", flat=True).first()
    return {
        "entry_id": entry_id,
        "reversed_by": reversed_by,
        "reverses": entry.reverses_id,
        "reversal_proposals": Proposal.objects.filter(reverses_id=entry_id).order_by("-pk")[:COMMENTS_SHOWN],
        "proposal": Proposal.objects.filter(entry_id=entry_id).first(),
        "comments": EntryComment.objects.filter(entry_id=entry_id)
        .select_related("author")
        .order_by("pk")[:COMMENTS_SHOWN],
        "attachments": EntryAttachment.objects.filter(entry_id=entry_id).select_related("author").order_by("pk"),
        "may_reverse": can_be_reversed and reversed_by is None and access.may(request.user, Right.MAKE_ENTRIES),
        "may_comment": access.may(request.user, Right.COMMENT),
        "may_download": access.may(request.user, Right.VIEW_BOOKS),
        "reason_form": ReasonForm(auto_id="reverse_%s"),
        "comment_form": CommentForm(auto_id="comment_%s"),
        "file_form": FileForm(auto_id="attach_%s"),
    }


@require_POST
@access.page(Right.MAKE_ENTRIES, action="entry.ask_reversal")
def reverse_entry(request: HttpRequest, _context: Context, entry_id: int) -> HttpResponse:
    """Propose to reverse an entry; leads to the proposal."""
    form = ReasonForm(request.POST)
    made: list[Proposal] = []

    def propose() -> None:
        made.append(reversal.propose(person(request), entry_id, form.cleaned_data["reason"], now=utc_now()))

    back = _done(request, entry_id, form, propose, _("Proposed; another person decides."))
    return HttpResponseRedirect(reverse("finance:proposal", args=[made[0].pk])) if made else back


@require_POST
@access.page(Right.COMMENT, action="entry.write_comment")
def comment(request: HttpRequest, _context: Context, entry_id: int) -> HttpResponse:
    """Say something about an entry."""
    form = CommentForm(request.POST)

    def add() -> None:
        comments.add(person(request), entry_id, form.cleaned_data["text"], now=utc_now())

    return _done(request, entry_id, form, add, _("Written down."))


@require_POST
@access.page(Right.COMMENT, action="entry.send_file")
def attach(request: HttpRequest, _context: Context, entry_id: int) -> HttpResponse:
    """Attach a file to an entry."""
    form = FileForm(request.POST, request.FILES)

    def add() -> None:
        file = form.cleaned_data["file"]
        attachments.attach(person(request), entry_id, file.name, file.chunks(), now=utc_now())

    return _done(request, entry_id, form, add, _("Attached."))


def _done(request: HttpRequest, entry_id: int, form: Any, act: Callable[[], None], success: Any) -> HttpResponse:
    """Do something to an entry if its form is right, say how it went, and lead back to it."""
    if not form.is_valid():
        messages.error(request, told(form))
    else:
        try:
            act()
        except EntryUnknownError as missing:
            raise Http404 from missing
        except DomainError as refusal:
            messages.error(request, refusal_message(refusal))
        else:
            messages.success(request, success)
    return HttpResponseRedirect(reverse("admin:ledger_journalentry_change", args=[entry_id]))


@require_safe
@access.page(Right.VIEW_BOOKS, action="attachment.fetch")
def download(request: HttpRequest, _context: Context, attachment_id: int) -> HttpResponse:
    """Send an attachment's file, always as a download: Note [Attachments]."""
    try:
        found = attachments.download(person(request), attachment_id, now=utc_now())
    except attachments.AttachmentMissingError as missing:
        raise Http404 from missing
    name = found.attachment.name
    response = HttpResponse(found.content, content_type=found.attachment.content_type)
    response.headers["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name) or ""
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
