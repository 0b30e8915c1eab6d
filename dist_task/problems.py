"""What is wrong with something that came from outside: where it is, and a sentence about it.

Pure. A message is translated when it is added: it speaks the language of the request that is being answered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple, TypeGuard

from django.utils.translation import gettext, ngettext

from dist_task.errors import InvalidRequest

MOST_REPORTED = 100
CLOSE = 0.7  # of difflib's ratio
LONGEST_MEANT = 64  # characters; longer words are not compared
MOST_COMPARED = 2_000_000  # pairs of letters in one report: a fraction of a second, whoever chose the words


@dataclass(frozen=True, slots=True)
class Problem:
    path: str  # such as "tasks[2].retry.interval"
    message: str
    hint: str = ""  # what to write instead

    def __str__(self) -> str:
        return f"{self.path}: {self.message} ({self.hint})" if self.hint else f"{self.path}: {self.message}"


class Fault(str):
    """A sentence about a configuration that knows which of its keys is wrong; "" where none is more so than others.

    `hint`: what to write instead, where it is more than an example of the key.
    """

    key: str
    hint: str

    def __new__(cls, sentence: str, *, key: str, hint: str = "") -> Fault:
        fault = super().__new__(cls, sentence)
        fault.key, fault.hint = key, hint
        return fault


def faults(key: str, sentences: Iterable[str]) -> list[str]:
    """The same sentences, about this key."""
    return [Fault(sentence, key=key) for sentence in sentences]


class Meant(NamedTuple):
    """Something that is not known where it stands, and the words that are: it may be one of them, misspelt."""

    written: object
    among: Collection[str]

    @property
    def cost(self) -> int:
        """How many pairs of letters a guess compares."""
        return len(self.written) * sum(map(len, self.among)) if self._is_word(self.written) else 0

    def guess(self) -> str:
        """The word that is close to the written one; "" where none is."""
        if not self._is_word(self.written):
            return ""
        return next(iter(get_close_matches(self.written, self.among, n=1, cutoff=CLOSE)), "")

    @staticmethod
    def _is_word(written: object) -> TypeGuard[str]:
        return isinstance(written, str) and len(written) <= LONGEST_MEANT


class InvalidValue(InvalidRequest):
    """Something from outside was refused; `problems` says where and why, and is never empty."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class Problems:
    """Collects problems: the first hundred in full, the others as a number."""

    def __init__(self, *, root: str) -> None:
        self.root = root  # the path of a problem that has none, such as "definition"
        self._found: list[Problem] = []
        self._count = 0
        self._left_to_compare = MOST_COMPARED

    def __len__(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        """Whether further problems are only counted."""
        return self._count >= MOST_REPORTED

    def count(self, more: int) -> None:
        """Problems that came when it was full, so that nobody needs to word them."""
        self._count += more

    def add(
        self, path: str, message: str, /, *, meant: Meant | None = None, hint: str = "", **parameters: object
    ) -> None:
        """`message` and `hint` are untranslated texts, marked with gettext_noop; beyond the cap it is only counted.

        The word that was meant, where one is close, is a better hint than `hint`.
        """
        self._count += 1
        if self._count <= MOST_REPORTED:
            advice = (self._guess(meant) if meant else "") or _told(hint, parameters)
            self._found.append(Problem(path or self.root, _told(message, parameters), advice))

    def add_at(
        self,
        path: str,
        keys: Iterable[object],
        message: str,
        /,
        *,
        meant: Meant | None = None,
        hint: str = "",
        **parameters: object,
    ) -> None:
        """The same for a member of `path`, whose own path is written out only where it is reported."""
        if not self.is_full:
            for key in keys:
                path = child_path(path, key)
        self.add(path, message, meant=meant, hint=hint, **parameters)

    def extend(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self._count += 1
            if self._count <= MOST_REPORTED:
                self._found.append(problem)

    def report(self) -> list[Problem]:
        more = self._count - len(self._found)
        if not more:
            return list(self._found)
        text = ngettext("and %(more)d more problem", "and %(more)d more problems", more) % {"more": more}
        return [*self._found, Problem(self.root, text, gettext("mend those above first, and try again"))]

    def _guess(self, meant: Meant) -> str:
        """None once enough was compared: thousands of names, each misspelt, would take minutes."""
        self._left_to_compare -= meant.cost
        guess = meant.guess() if self._left_to_compare >= 0 else ""
        return gettext("did you mean %(word)s?") % {"word": shown(guess)} if guess else ""


def _told(text: str, parameters: Mapping[str, object]) -> str:
    """In the language of the request."""
    told = gettext(text) if text else ""
    return told % parameters if parameters else told


def shown(value: object, *, length: int = 60) -> str:
    """Outside text made fit to be quoted in a message: one line, short, printable."""
    text = str(value)[: length + 1]
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return text if len(text) <= length else text[: length - 1] + "…"


def child_path(path: str, key: object) -> str:
    """The path of a member (a string key) or of an item (an int)."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    name = shown(key)
    return f"{path}.{name}" if path else name
