"""Every URL of the exchange, by app."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path

from exchange.api import docs, handlers
from exchange.observability import health

handler400 = handlers.bad_request
handler403 = handlers.permission_denied
handler404 = handlers.not_found
handler500 = handlers.server_error

ready = health.ready({})

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("health", ready),
    path("health/live", health.live),
    path("health/ready", ready),
    path("metrics", health.metrics_page),
    path("api/docs", docs.page, name="api-docs"),
    path("api/v1/schema", docs.schema, name="schema"),
    path("api/v1/errors", docs.ErrorTableView.as_view(), name="errors"),
    path("api/v1/", include("exchange.users.urls")),
    re_path(r"^api/", handlers.no_such_call),
    path("", include("exchange.web.urls")),
]
