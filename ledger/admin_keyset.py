"""Lists of the admin over tables of millions of rows: pages by place (`keyset`), never by number, never counted."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest
from unfold.views import ChangeList

from ledger import keyset, selectors


class KeysetPaginator(Paginator):  # type: ignore[type-arg]  # takes no type at run time
    """What the admin's templates ask of a paginator, with a template that leads to newer and older rows."""

    template_name = "ledger/controls/keyset_pages.html"

    def __init__(self, page: keyset.Page, size: int) -> None:
        super().__init__(page.rows, size)
        self.page_shown = page


class KeysetChangeList(ChangeList):  # type: ignore[misc]  # the theme brings no types
    """A list in order of the primary key, newest first, whose pages all cost the same.

    How many rows there are is told where the page is the whole list, and estimated for a whole table; a filtered list
    of many pages is not counted.
    """

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.asked = request.GET.dict()
        super().__init__(request, *args, **kwargs)

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what narrows the list: all but the page's place."""
        found: dict[str, Any] = super().get_filters_params(params)
        return {key: value for key, value in found.items() if key not in keyset.PLACES}

    def get_query_string(self, new_params: Any = None, remove: Any = None) -> str:
        """Return the query of a narrower or wider list, which begins with its first page."""
        return str(super().get_query_string(new_params, [*(remove or []), *keyset.PLACES]))

    def get_results(self, request: HttpRequest) -> None:
        """Read one page; one statement, and one for the estimate."""
        page = keyset.page(self.queryset, self.asked, self.list_per_page)
        self.result_list = page.rows
        self.is_estimate = not page.is_whole and not self.queryset.query.where
        table = self.model._meta.db_table  # noqa: SLF001 -- Django's documented API
        self.result_count = max(selectors.estimated_rows(table), len(page.rows)) if self.is_estimate else len(page.rows)
        self.is_counted = page.is_whole
        self.paginator = KeysetPaginator(page, self.list_per_page)
        self.full_result_count = self.result_count  # so that the theme says nothing of its own about how many there are
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False


class KeysetList:
    """For a `ModelAdmin` of a long table whose primary key is a number."""

    list_per_page = 50
    sortable_by = ()
    show_full_result_count = False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        """Return the list that pages by place."""
        return KeysetChangeList
