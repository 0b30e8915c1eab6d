"""Whatever other people have written is text on every page: it runs nothing, leads nowhere and moves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.browser.conftest import PHONE, Window
from tests.browser.hostile import fill_with_evil
from tests.browser.stage import Stage
from tests.browser.test_screenshots import opened
from tests.engine.worker import WorkerThread

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True, serialized_rollback=True)]
CANARY = "window.canary = () => { window.sang = true }"
FOUND = """() => {
    const marks = /[\\u061c\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2069]/;
    const named = (each) => `${each.tagName}.${each.className}`;
    const found = window.sang ? ["a script ran"] : [];
    for (const each of document.querySelectorAll("*")) {
        for (const { name, value } of each.attributes) {
            const leads = ["href", "src", "action"].includes(name) && value.startsWith("javascript:");
            if (leads || name.startsWith("on")) found.push(`${named(each)} has ${name}`);
            if (["title", "aria-label"].includes(name) && marks.test(value)) found.push(`${name} of ${named(each)}`);
        }
        if (each.tagName === "SCRIPT" && !each.src) found.push("a script in the page");
    }
    const texts = document.createTreeWalker(document, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const inside = texts.currentNode.parentElement;
        if (marks.test(texts.currentNode.data) && inside.tagName !== "TEXTAREA")
            found.push(`text of ${named(inside)} in ${named(inside.parentElement)}`);
    }
    return found;
}"""
"""What runs, what would if it were clicked, and where marks turn the direction of text round."""


@pytest.fixture
def worker(transactional_db: None) -> Iterator[WorkerThread]:
    """Without a look at the guarantees afterwards: nothing keeps them in such a database."""
    worker = WorkerThread().start()
    yield worker
    worker.stop()


@pytest.fixture
def evil(stage: Stage, worker: WorkerThread) -> Stage:
    worker.stop()
    filled = fill_with_evil()
    assert len(filled) > 50
    return stage


def test_hostile_text_stays_text_on_every_page(evil: Stage, window: Callable[..., Window]) -> None:
    found = window(viewport=PHONE)
    found.page.add_init_script(CANARY)
    wrong = []

    for name, page in opened(found, stage=evil):
        stuck = [] if found.fits() else [f"wider than the screen: {found.too_wide()}"]
        if problems := stuck + page.evaluate(FOUND):
            wrong.append(f"{name}: " + "; ".join(sorted(set(problems))))

    assert not wrong, "\n".join(wrong)
    assert found.said == []
    assert len(found.hosts) == 1
