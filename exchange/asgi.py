"""The ASGI application: HTTP by Django."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exchange.settings.dev")

application = get_asgi_application()
