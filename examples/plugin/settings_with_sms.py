"""The service's own settings, and one executor more. DJANGO_SETTINGS_MODULE names this module."""

from dist_task.conf import Conf
from dist_task.settings import *  # noqa: F403
from dist_task.settings import DIST_TASK

DIST_TASK = {**DIST_TASK, "EXECUTORS": (*Conf().EXECUTORS, "dist_task_sms.SmsExecutor")}
