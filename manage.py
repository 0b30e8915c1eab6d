#!/usr/bin/env python
"""Django's command line for dist_task."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dist_task.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from dist_task.errors import DistTaskError

    try:
        execute_from_command_line(sys.argv)
    except (DistTaskError, ImproperlyConfigured) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
