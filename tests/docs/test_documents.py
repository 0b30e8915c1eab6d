"""What the documents name exists: files, commands, variables; and both READMEs say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]
READMES = ("README.md", "README.zh.md")
FOR_TESTS = {
    "DIST_TASK_PG_FSYNC",
    "DIST_TASK_KEEPER",
    "DJANGO_SETTINGS_MODULE",
    "PYTHONPATH",
    "NOTIFY_SOCKET",
}


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))

    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("readme", READMES)
def test_commands_exist(readme):
    rows = re.findall(r"^\| (`[a-z_]+.*?`) \|", read(readme), flags=re.MULTILINE)
    named = {re.split(r"[ `]", part)[0] for row in rows for part in re.findall(r"`([a-z_]+[^`]*)`", row)}

    assert named
    assert named <= set(get_commands())


@pytest.mark.parametrize("readme", READMES)
def test_the_variables_are_those_that_the_code_reads(readme):
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", read(readme), flags=re.MULTILINE))
    sources = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "dist_task").rglob("*.py"))
    calls = r"(?:env\.\w+|os\.environ\.get)\(\s*\"([A-Z_]+)\""

    assert documented == set(re.findall(calls, sources)) - FOR_TESTS


def test_both_readmes_have_the_same_examples():
    examples = [re.findall(r"```bash\n(.*?)```", read(readme), flags=re.DOTALL) for readme in READMES]
    without_words = [[re.sub(r"<.*?>|#.*", "", example) for example in each] for each in examples]

    assert without_words[0] == without_words[1]
