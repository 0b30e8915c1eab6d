"""What no interface may let into a flow."""

from __future__ import annotations

import pytest

from dist_task.problems import InvalidValue
from flows.models import Flow
from flows.register import register

pytestmark = pytest.mark.django_db
WORDS = {"name": "orders", "flow_type": "shop", "create_user": "ann"}


@pytest.mark.parametrize("column", WORDS)
@pytest.mark.parametrize("text", ["a\0b", "a\r\nb", "a\x1b[31mb", "a\x85b", "a\ud800b", "x" * 101])
def test_a_word_with_a_control_character_or_too_many_is_refused_by_its_name(column: str, text: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        register(definition={"tasks": []}, **{**WORDS, column: text})

    assert [problem.path for problem in refusal.value.problems] == [column]
    assert not Flow.objects.exists()


def test_a_description_has_lines_but_nothing_that_cannot_be_stored() -> None:
    assert register(definition={"tasks": []}, description="one\ntwo", **WORDS).description == "one\ntwo"
    with pytest.raises(InvalidValue, match="description"):
        register(definition={"tasks": []}, description="\0", **WORDS)
