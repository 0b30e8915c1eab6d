"""The typed view of our own settings."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from dist_task.conf import conf


def test_a_setting_that_is_not_given_has_its_default(settings: Any) -> None:
    settings.DIST_TASK = {"SLOTS": 7}

    assert (conf.SLOTS, conf.CLAIM_BATCH) == (7, 64)


def test_a_misspelt_setting_is_refused(settings: Any) -> None:
    settings.DIST_TASK = {"SLOT": 7}

    with pytest.raises(ImproperlyConfigured, match="SLOT"):
        _ = conf.SLOTS
