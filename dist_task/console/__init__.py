"""The operators' console: our own Django admin site, at /admin/."""

from dist_task.console.site import ConsoleSite, site

__all__ = ["ConsoleSite", "site"]
