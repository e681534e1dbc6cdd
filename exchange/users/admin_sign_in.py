"""The admin's sign-in page, held to the same limits as every other way of signing in."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from exchange.api import throttling
from exchange.api.authentication import client_address
from exchange.api.envelope import refusal_message
from exchange.api.errors import TooManyRequestsError
from exchange.users.api import sign_in_limits

FOUND = 302


def view(request: HttpRequest) -> HttpResponse:
    """Show the page, or sign in; failures count by address and by name."""
    if request.method != "POST":
        return admin.site.login(request)
    site = throttling.site_of(client_address(request.META))
    limits = sign_in_limits(site, request.POST.get("username", ""))
    try:
        for limit, caller in limits:
            throttling.take(limit, caller)
    except TooManyRequestsError as error:
        retry_after = str(error.data["retry_after"])
        return HttpResponse(refusal_message(error), status=error.status, headers={"Retry-After": retry_after})
    response = admin.site.login(request)
    if response.status_code == FOUND:
        for limit, caller in limits:
            throttling.give_back(limit, caller)
    return response
