#!/usr/bin/env python
"""Django's command line for dist_task."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dist_task.settings")
    from django.core.management import execute_from_command_line

    from dist_task.errors import DistTaskError

    try:
        execute_from_command_line(sys.argv)
    except DistTaskError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
