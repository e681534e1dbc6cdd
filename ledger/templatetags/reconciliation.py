"""What every finance page says of reconciliation."""

from typing import Any

from django import template

from ledger import access
from ledger.access import Right
from ledger.reconciliation import reading

register = template.Library()


@register.inclusion_tag("ledger/reconciliation/banner.html", takes_context=True)
def break_banner(context: dict[str, Any]) -> dict[str, Any]:
    """Tell those who work on breaks, on every finance page, that there are some."""
    request = context.get("request")
    if request is None or not access.may(request.user, Right.WORK_ON_BREAKS):
        return {"breaks": 0}
    return {"breaks": reading.unresolved_count()}
