"""What people may ask of breaks, and do to them, as forms."""

from typing import Any, Final

from django import forms
from django.contrib.auth import get_user_model
from django.utils.translation import gettext_lazy as _

from ledger import access
from ledger.access import Right
from ledger.models import Asset
from ledger.reconciliation import checks
from ledger.reconciliation.models import BreakState
from ledger.reconciliation.reading import UNRESOLVED
from ledger.services.breaks import TEXT_LENGTH_MAX

WORKERS_MAX: Final = 200


def workers() -> list[Any]:
    """Return everybody who may work on breaks, by name."""
    people = get_user_model().objects.filter(is_staff=True, is_active=True).order_by("username")[:WORKERS_MAX]
    return [person for person in people if access.may(person, Right.WORK_ON_BREAKS)]


class BreakFilter(forms.Form):
    """Which breaks to list; anything that makes no sense is left out."""

    state = forms.ChoiceField(label=_("State"), required=False)
    check = forms.ChoiceField(label=_("Check"), required=False)
    owner = forms.ChoiceField(label=_("In charge"), required=False)
    asset = forms.ChoiceField(label=_("Asset"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        anything = ("", _("all"))
        self.fields["state"].choices = [  # type: ignore[attr-defined]
            (UNRESOLVED, _("not resolved")),
            *BreakState.choices,
            ("all", _("all")),
        ]
        self.fields["check"].choices = [anything, *((item.name, item.name) for item in checks.registered())]  # type: ignore[attr-defined]
        self.fields["owner"].choices = [anything, *((str(who.pk), who.get_username()) for who in workers())]  # type: ignore[attr-defined]
        self.fields["asset"].choices = [  # type: ignore[attr-defined]
            anything,
            *((code, code) for code in Asset.objects.order_by("code").values_list("code", flat=True)),
        ]

    def wanted(self) -> dict[str, Any]:
        """Return the arguments of `reading.breaks`."""
        self.is_valid()
        asked = self.cleaned_data
        state = asked.get("state") or UNRESOLVED
        return {
            "state": "" if state == "all" else state,
            "check": asked.get("check", ""),
            "owner_id": int(asked["owner"]) if asked.get("owner") else None,
            "asset": asked.get("asset", ""),
        }


class BreakAction(forms.Form):
    """What a person does to a break, with words."""

    action = forms.ChoiceField(
        choices=[(name, name) for name in ("assign", "explain", "resolve", "reopen", "comment")],
    )
    owner = forms.ChoiceField(label=_("In charge"), required=False)
    text = forms.CharField(
        label=_("Words"),
        required=False,
        max_length=TEXT_LENGTH_MAX,
        widget=forms.Textarea({"rows": 3}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["owner"].choices = [  # type: ignore[attr-defined]
            ("", "-"),
            *((str(who.pk), who.get_username()) for who in workers()),
        ]
