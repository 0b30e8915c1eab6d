"""The campaign's settings with connections of a test, for worker processes."""

from __future__ import annotations

import json
import os

from campaign.settings import *  # noqa: F403  # settings are made so
from campaign.settings import DIST_TASK

DIST_TASK = {**DIST_TASK, "CONNECTIONS": json.loads(os.environ["SHOP_CONNECTIONS"])}
