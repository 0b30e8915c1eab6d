"""A real browser, a server, and a stage with transactions of every kind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.browser.stage import Stage, build
from tests.engine.conftest import service, start_worker, worker

__all__ = ["service", "start_worker", "worker"]  # fixtures

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
STICKING_OUT = """[...document.querySelectorAll("body *")]
    .filter((each) => each.getBoundingClientRect().right > window.innerWidth + 1 && !each.closest(".scroll, nav"))
    .slice(0, 5).map((each) => `${each.tagName}.${each.getAttribute("class")}#${each.id}`)"""
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    if not CHROMIUM:
        pytest.skip("needs a Chromium on PATH")
    # The driver runs an event loop in this thread, and Django then refuses the database in it.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def root(transactional_db: None) -> Client:
    user = User.objects.create_user("root", password=None, is_staff=True, is_superuser=True, first_name="Ana")
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def stage(service: Any, worker: Any) -> Stage:
    return build(service)


@dataclass
class Window:
    """A page of the browser, and everything that it said or asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def open(self, address: str) -> Any:
        answer = self.page.goto(address)
        assert answer.status == 200, f"{address}: {answer.status}"
        self.page.locator('[aria-busy="true"]').wait_for(state="detached")
        return self.page

    def fits(self) -> bool:
        wide, screen = self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        return bool(wide <= screen)

    def too_wide(self) -> list[str]:
        """The elements that stick out, for the message of a test."""
        found: list[str] = self.page.evaluate(STICKING_OUT)
        return found


@pytest.fixture
def window(browser: Any, live_server: Any, root: Client) -> Iterator[Callable[..., Window]]:
    """Opens one, signed in; `theme`, `language` and `viewport` as asked for."""
    contexts = []

    def open_one(*, theme: str = "light", language: str = "en", viewport: Any = None, **options: Any) -> Window:
        context = browser.new_context(
            base_url=live_server.url, viewport=viewport or DESKTOP, color_scheme=theme, **options
        )
        contexts.append(context)
        session = {"name": "sessionid", "value": root.cookies["sessionid"].value, "url": live_server.url}
        context.add_cookies([session, {"name": "django_language", "value": language, "url": live_server.url}])
        return watched(context.new_page())

    yield open_one
    for context in contexts:
        context.close()


def watched(page: Any) -> Window:
    found = Window(page)
    page.on("console", lambda message: _note(found, message))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("dialog", lambda dialog: _dismiss(found, dialog))
    page.on("request", lambda request: found.hosts.add(urlsplit(request.url).netloc))
    return found


def _dismiss(found: Window, dialog: Any) -> None:
    found.said.append(f"a script ran: {dialog.message}")
    dialog.dismiss()


def _note(found: Window, message: Any) -> None:
    if message.type in ("error", "warning"):
        found.said.append(message.text)
