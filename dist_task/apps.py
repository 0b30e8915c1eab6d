from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DistTaskConfig(AppConfig):
    name = "dist_task"
    verbose_name = _("Task runs")

    def ready(self) -> None:
        from . import checks, roles  # noqa: F401  # checks registers the system checks

        roles.connect()
