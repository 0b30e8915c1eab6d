"""Every page in both languages and themes: `script/screenshots FOLDER` keeps the pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, resolve, reverse

from dist_task.console import site
from tests.browser.conftest import DESKTOP, PHONE, Window
from tests.browser.pages import NO_PAGES, pages, verbs
from tests.browser.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True, serialized_rollback=True)]

SHOTS = [("en", "light", DESKTOP), ("zh-hans", "dark", DESKTOP), ("zh-hans", "light", PHONE), ("en", "dark", PHONE)]
NARROW = SHOTS[2:]
"""What the gate looks at: what fits there fits a desktop."""
NO_BUTTONS = {
    ("batch", "resume"): "no batch of the stage is paused, and its page is like that of pause",
    ("transaction", "rerun"): "has an address",
    ("flow", "activate"): "done at once, from the list",
    ("flow", "deactivate"): "done at once, from the list",
}
"""Verbs that have no page here, and why."""


def test_every_page_is_quiet_in_both_languages_and_themes(
    stage: Stage, window: Callable[..., Window], tmp_path: Path
) -> None:
    folder, are_kept = _folder(tmp_path)
    wanted = os.environ.get("DIST_TASK_SCREENSHOTS_OF", "").split()
    assert_complete(stage)

    for language, theme, viewport in SHOTS if are_kept else NARROW:
        found = window(language=language, theme=theme, viewport=viewport)
        for name, page in opened(found, stage=stage, wanted=wanted):
            assert found.fits(), f"{name} is wider than {viewport['width']} pixels: {found.too_wide()}"
            if are_kept:
                page.screenshot(path=folder / _file(name, language, theme, viewport), full_page=True)
        assert found.said == []
        assert len(found.hosts) == 1


def test_the_page_to_sign_in_is_quiet_in_both_languages_and_themes(
    window: Callable[..., Window], tmp_path: Path
) -> None:
    folder, _are_kept = _folder(tmp_path)

    for language, theme, viewport in SHOTS:
        found = window(language=language, theme=theme, viewport=viewport)
        found.page.context.clear_cookies(name="sessionid")
        page = found.open(reverse("admin:login"))
        page.screenshot(path=folder / _file("login", language, theme, viewport), full_page=True)
        assert found.fits(), f"wider than {viewport['width']} pixels: {found.too_wide()}"
        page.locator("#id_password").fill("wrong")
        page.locator("#id_username").fill("nobody")
        page.keyboard.press("Enter")
        page.locator(".errornote").wait_for()
        assert found.said == []
        assert len(found.hosts) == 1


def opened(found: Window, *, stage: Stage, wanted: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """The pages by these names; where none are named, all."""
    for name, address in pages(stage).items():
        if not wanted or name in wanted:
            yield name, found.open(address)
    for name, (address, verb) in verbs(stage).items():
        if wanted and name not in wanted:
            continue
        page = found.open(address)
        page.locator(f"form.act:has(input[name=action][value={verb}]) button").click()
        page.locator("form.confirm").wait_for()
        page.wait_for_load_state()
        yield name, page


def assert_complete(stage: Stage) -> None:
    """A page that is added to the console is looked at here, or left out for a reason."""
    shown = {resolve(urlsplit(address).path).url_name for address in pages(stage).values()}
    known = {name for name in _names(get_resolver().url_patterns, prefix="") if name}
    assert known - shown - NO_PAGES.keys() == set(), "not in tests/browser/pages.py"
    assert NO_PAGES.keys() <= known - shown, "left out in tests/browser/pages.py, and there is no need"
    buttons = {tuple(name.split(".")) for name in verbs(stage)}
    asked = {(page.partition("-")[0], verb) for page, verb in buttons}
    assert _actions() - asked - NO_BUTTONS.keys() == set(), "not among the verbs of tests/browser/pages.py"


def _names(patterns: list[Any], *, prefix: str) -> Iterator[str | None]:
    for pattern in patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _names(pattern.url_patterns, prefix=address)
        elif isinstance(pattern, URLPattern) and address.startswith("admin/"):
            yield pattern.name


def _actions() -> set[tuple[str, str]]:
    """Of each list, as `(kind of row, verb)`."""
    kinds = {"exceptionrecord": "exception"}
    return {
        (kinds.get(str(model._meta.model_name), str(model._meta.model_name)), verb)
        for model, model_admin in site._registry.items()
        for verb in model_admin.actions or ()
    }


def _folder(otherwise: Path) -> tuple[Path, bool]:
    """Where pictures go, and whether somebody asked for them."""
    asked = os.environ.get("DIST_TASK_SCREENSHOTS")
    folder = Path(asked or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    return folder, bool(asked)


def _file(name: str, language: str, theme: str, viewport: Any) -> str:
    return f"{name}.{language}.{theme}.{viewport['width']}.png"
