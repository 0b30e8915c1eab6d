"""Every page in both languages and themes: `script/screenshots FOLDER` keeps the pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import DESKTOP, PHONE, Window
from tests.browser.pages import pages
from tests.browser.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True, serialized_rollback=True)]

SHOTS = [("en", "light", DESKTOP), ("zh-hans", "dark", DESKTOP), ("zh-hans", "light", PHONE), ("en", "dark", PHONE)]


def test_every_page_is_quiet_in_both_languages_and_themes(
    stage: Stage, window: Callable[..., Window], tmp_path: Path
) -> None:
    folder = Path(os.environ.get("DIST_TASK_SCREENSHOTS") or tmp_path)
    wanted = os.environ.get("DIST_TASK_SCREENSHOTS_OF", "").split()
    folder.mkdir(parents=True, exist_ok=True)

    for language, theme, viewport in SHOTS:
        found = window(language=language, theme=theme, viewport=viewport)
        for name, address in pages(stage).items():
            if wanted and name not in wanted:
                continue
            page = found.open(address)
            assert found.fits(), f"{name} is wider than {viewport['width']} pixels: {found.too_wide()}"
            page.screenshot(path=folder / _file(name, language, theme, viewport), full_page=True)
        assert found.said == []
        assert len(found.hosts) == 1


def _file(name: str, language: str, theme: str, viewport: Any) -> str:
    return f"{name}.{language}.{theme}.{viewport['width']}.png"
