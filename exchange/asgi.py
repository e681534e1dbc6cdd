"""The ASGI application: HTTP by Django, the API's calls in threads that stay, WebSocket at /ws by the feed."""

import os
from typing import Any
from urllib.parse import ParseResult

from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import OriginValidator
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

from exchange.kernel import garbage

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exchange.settings.dev")

pages = get_asgi_application()
garbage.search_rarely()

from exchange.gateway import ApiApplication  # noqa: E402 -- needs the app registry
from marketdata.backpressure import waits_for_slow_clients  # noqa: E402 -- needs the app registry
from trading.consumers import ExchangeFeed  # noqa: E402 -- needs the app registry


class BrowserOriginValidator(OriginValidator):  # type: ignore[misc]
    """Refuses pages of other sites; programs, which send no Origin and carry no cookie of a victim, may pass."""

    def valid_origin(self, parsed_origin: ParseResult | None) -> bool:
        """Tell whether this connection may open."""
        return parsed_origin is None or bool(self.validate_origin(parsed_origin))


class NoSuchPath(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Refuses the handshake of any path but /ws."""

    async def connect(self) -> None:
        """Close before accepting: the client sees 403."""
        await self.close()


def _websocket(hosts: list[str]) -> Any:
    """Return the WebSocket side for these allowed hosts."""
    routes = URLRouter([path("ws", ExchangeFeed.as_asgi()), re_path("", NoSuchPath.as_asgi())])
    return waits_for_slow_clients(BrowserOriginValidator(AuthMiddlewareStack(routes), hosts))


api = ApiApplication()


async def http_application(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request: the API's calls in threads of their own, pages and probes by Django's handler."""
    await (api if scope["path"].startswith("/api/") else pages)(scope, receive, send)


application = ProtocolTypeRouter({"http": http_application, "websocket": _websocket(settings.ALLOWED_HOSTS)})
