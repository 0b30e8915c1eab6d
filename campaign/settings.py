"""The development profile with short leases, on the database that the campaign names."""

from __future__ import annotations

import os

from dist_task.settings import *  # noqa: F403  # settings are made so
from dist_task.settings import DATABASES, DIST_TASK

if name := os.environ.get("CAMPAIGN_DATABASE"):
    DATABASES["default"]["NAME"] = name
DIST_TASK = {
    **DIST_TASK,
    "LEASE_SECONDS": float(os.environ.get("CAMPAIGN_LEASE_SECONDS", "1.5")),
    "STOP_GRACE_SECONDS": 3.0,
    "POLL_SECONDS": 0.3,
}
