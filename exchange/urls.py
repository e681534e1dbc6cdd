"""Every URL of the exchange, by app."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path

from exchange.api import docs, handlers
from exchange.management import dependencies
from exchange.observability import health
from exchange.users import admin_sign_in
from trading import consumers as _feed  # noqa: F401 -- the feed refuses too: its codes belong to the published table

handler400 = handlers.bad_request
handler403 = handlers.permission_denied
handler404 = handlers.not_found
handler500 = handlers.server_error

ready = health.ready(dependencies.WATCH)

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/login/", admin_sign_in.view),
    path("admin/finance/", include("ledger.urls")),
    path("admin/", admin.site.urls),
    path("health", ready),
    path("health/live", health.live(dependencies.WATCH)),
    path("health/ready", ready),
    path("metrics", health.metrics_page),
    path("api/docs", docs.page, name="api-docs"),
    path("api/v1/schema", docs.schema, name="schema"),
    path("api/v1/errors", docs.ErrorTableView.as_view(), name="errors"),
    path("api/v1/asyncapi", docs.asyncapi, name="asyncapi"),
    path("api/v1/", include("exchange.users.urls")),
    path("api/v1/", include("trading.urls")),
    path("api/v1/", include("ledger.transfers.api.urls")),
    path("api/v1/", include("ledger.reserves.api_urls")),
    path("api/v1/", include("ledger.api.urls")),
    path("api/v1/", include("marketdata.urls")),
    re_path(r"^api/", handlers.no_such_call),
    path("", include("ledger.reserves.urls")),
    path("", include("exchange.web.urls")),
]
