"""Every message speaks Chinese, and the compiled catalogue is the one that was translated."""

from __future__ import annotations

import gettext
import re

from tests.admin.catalogue import CATALOGUE, entries, messages_of_source

PLACE = re.compile(r"%\(\w+\)[a-z]")


def test_every_message_of_the_source_is_in_the_catalogue() -> None:
    known = {entry["msgid"] for entry in entries()}

    missing = messages_of_source() - known

    assert not missing, f"{len(missing)} new messages, see docs/translations.md: {sorted(missing)}"


def test_the_finder_finds_messages_of_code_and_templates() -> None:
    found = messages_of_source()

    assert {"needs a person", "Why is it not moving?", "must be an object", "%(n)s more task is not shown."} <= found


def test_every_message_is_translated() -> None:
    bare = [
        entry["msgid"]
        for entry in entries()
        if "fuzzy" in entry or not all(text for key, text in entry.items() if key.startswith("msgstr"))
    ]

    assert bare == []


def test_a_translation_keeps_the_places_of_its_message() -> None:
    for entry in entries()[1:]:
        wanted = set(PLACE.findall(entry.get("msgid_plural", entry["msgid"])))
        for key, text in entry.items():
            if key.startswith("msgstr"):
                assert set(PLACE.findall(text)) == wanted, entry["msgid"]


def test_the_compiled_catalogue_is_current() -> None:
    with CATALOGUE.with_suffix(".mo").open("rb") as compiled:
        spoken = gettext.GNUTranslations(compiled)

    for entry in entries()[1:]:
        if "msgid_plural" in entry:
            assert spoken.ngettext(entry["msgid"], entry["msgid_plural"], 2) == entry["msgstr[0]"]
        else:
            assert spoken.gettext(entry["msgid"]) == entry["msgstr"]
