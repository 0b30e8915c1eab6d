"""Reads message catalogues and finds the messages in the source, without the tools of gettext."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent.parent
CATALOGUE = ROOT / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
CODE = ("dist_task", "flows", "transactions", "exceptions_app", "stats")
NAMES = {
    "_": 1,
    "gettext": 1,
    "gettext_lazy": 1,
    "gettext_noop": 1,
    "ngettext": 2,
    "ngettext_lazy": 2,
}
FIELD = re.compile(r'(msgid_plural|msgid|msgstr(?:\[\d\])?) (".*")')

Entry = dict[str, str]


def entries(path: Path = CATALOGUE) -> list[Entry]:
    """What a .po file says; obsolete entries left out, `fuzzy` noted."""
    found: list[Entry] = []
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        entry: Entry = {}
        key = ""
        for line in block.splitlines():
            if line.startswith("#, ") and "fuzzy" in line:
                entry["fuzzy"] = "yes"
            elif match := FIELD.fullmatch(line):
                key = match.group(1)
                entry[key] = ast.literal_eval(match.group(2))
            elif line.startswith('"'):
                entry[key] += ast.literal_eval(line)
        if "msgid" in entry:
            found.append(entry)
    return found


def messages_of_source() -> set[str]:
    found = set(_of_templates())
    for folder in CODE:
        for path in (ROOT / folder).rglob("*.py"):
            found.update(_of_module(path))
    return found


def _of_module(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def _of_templates() -> Iterator[str]:
    call = re.compile(r"\b(?:_|gettext|ngettext)\((u?(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"))")
    for path in (ROOT / "templates").rglob("*.html"):
        for match in call.finditer(templatize(path.read_text(encoding="utf-8"))):
            yield ast.literal_eval(match.group(1))
