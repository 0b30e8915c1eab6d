"""An operator at work: a browser that is signed in to the whole service, as script/server runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tests.browser.conftest import Window
from tests.house.conftest import ROOT, environment
from tests.house.supervisor import Supervisor

PASSWORD = "correct horse battery"
PERSON = """
from django.contrib.auth.models import Group, User
person = User.objects.create_user({name!r}, password={password!r}, is_staff=True)
person.groups.add(Group.objects.get(name={role!r}))
"""
PATIENCE = 60_000  # milliseconds: the page asks every five seconds, and the machine may be busy


def employ(house: Supervisor, *, name: str, role: str) -> None:
    """Gives somebody an account, as who runs the service does on its machine."""
    program = PERSON.format(name=name, password=PASSWORD, role=role)
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", program],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env=environment(house.folder),
    )


@dataclass
class Desk:
    """What an operator does with a page, in the words of who tells it."""

    window: Window
    name: str

    @property
    def page(self) -> Any:
        return self.window.page

    def sign_in(self) -> None:
        self.window.open("/admin/")
        self.page.get_by_label("Username").fill(self.name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("navigation", name="Main").wait_for()

    def go(self, name: str) -> None:
        """By the navigation."""
        self.page.get_by_role("navigation", name="Main").get_by_role("link", name=name).first.click()

    def jump(self, name: str) -> None:
        """To what an id names."""
        self.page.keyboard.press("/")
        self.page.keyboard.type(name)
        self.page.keyboard.press("Enter")
        self.heading(name)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def confirm(self, remark: str) -> None:
        """On the page that says what would happen."""
        self.page.get_by_label("Remark").fill(remark)
        self.page.locator(".submit-row .default").click()
        self.sees("1 done, 0 refused")

    def heading(self, text: str) -> None:
        self.page.get_by_role("heading", level=1).filter(has_text=text).wait_for()

    def sees(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for(timeout=PATIENCE)

    def table(self, name: str) -> Any:
        return self.page.get_by_role("region", name=name).last

    def needing_a_person(self) -> int:
        """As the navigation counts them."""
        return int(self.page.locator("#needs-person").inner_text() or 0)

    def wait_for_count(self, count: int) -> None:
        """Until the navigation says so, by itself."""
        badge = self.page.locator("#needs-person", has_text=re.compile(f"^{count or ''}$"))
        badge.wait_for(state="attached", timeout=PATIENCE)

    def keep_in_view(self) -> None:
        """From now on a page that is loaded anew is told from one that follows by itself."""
        self.page.evaluate("window.isTheSamePage = true")

    @property
    def is_still_in_view(self) -> bool:
        return bool(self.page.evaluate("window.isTheSamePage === true"))

    def state(self) -> str:
        """What the head of the page says of its row."""
        text: str = self.page.locator(".row-head .state").first.inner_text()
        return text
