#!/usr/bin/env python3
"""Runs the commands of the exchange: `python manage.py up` starts everything."""

import os
import sys


def main() -> None:
    """Hand the command line to Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exchange.settings.dev")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from exchange.embedded import folder
    from exchange.kernel import garbage

    garbage.search_rarely()
    folder.choose(sys.argv[1:])
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"The settings are not complete: {error}")


if __name__ == "__main__":
    main()
