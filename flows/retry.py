"""When a failed task run is tried again by itself (FLOWS, "Retry"). Pure: a delay, never a time."""

import random as _random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from django.utils.translation import gettext_noop as _

from dist_task.problems import Problem, Problems
from flows.reader import Reader

STRATEGIES = ("auto", "manual", "no_retry")
BACKOFFS = ("fixed", "linear", "exponential")
JITTERS = ("none", "full")
MOST_ATTEMPTS = 1000
LONGEST_INTERVAL = 30 * 86400
MOST_CODES = 100
KEYS = frozenset(
    ("strategy", "max_attempts", "interval", "backoff", "multiplier", "max_interval", "jitter", "terminal_on")
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    strategy: str = "manual"
    max_attempts: int = 3  # retries after the first try; means something for "auto" only
    interval: float = 60  # seconds; the pause of a manual retry too
    backoff: str = "fixed"
    multiplier: float = 2
    max_interval: float = LONGEST_INTERVAL
    jitter: str = "none"
    terminal_on: frozenset[str] = frozenset()  # error codes as text: the number 402 is "402"

    @classmethod
    def parse(cls, data: Any, *, path: str) -> tuple[Self, list[Problem]]:
        """The policy of a `retry` block; where there are problems, each bad key has its default."""
        problems = Problems(root=path)
        if not isinstance(data, dict):
            problems.add(path, _("must be an object"))
            return cls(), problems.report()
        return cls.read(Reader(data, path, problems)), problems.report()

    @classmethod
    def read(cls, block: Reader) -> Self:
        """The same from a block that is known to be an object; what is wrong goes to its problems."""
        block.refuse_other_keys(known=KEYS)
        if "max_attempts" in block.data and "strategy" not in block.data:
            block.refuse("strategy", _("is required where max_attempts is given"))
        return cls(
            strategy=block.choice("strategy", choices=STRATEGIES, default="manual"),
            max_attempts=block.whole("max_attempts", least=0, most=MOST_ATTEMPTS, default=3),
            interval=block.number("interval", least=0, most=LONGEST_INTERVAL, default=60),
            backoff=block.choice("backoff", choices=BACKOFFS, default="fixed"),
            multiplier=block.number("multiplier", least=1, most=1000, default=2),
            max_interval=block.number("max_interval", least=0, most=LONGEST_INTERVAL, default=LONGEST_INTERVAL),
            jitter=block.choice("jitter", choices=JITTERS, default="none"),
            terminal_on=_codes(block),
        )

    @property
    def tries(self) -> int:
        """How many attempts run by themselves, the first one included."""
        return 1 + self.max_attempts if self.strategy == "auto" else 1

    def delay(self, *, attempt: int, random: Callable[[], float] = _random.random) -> timedelta | None:
        """The pause after failed attempt `attempt` of this budget (from 1); None after the last one."""
        if attempt >= self.tries:
            return None
        seconds = min(self._pause(max(attempt, 1)), self.max_interval, LONGEST_INTERVAL)
        if self.jitter == "full":
            seconds *= random()
        return timedelta(seconds=seconds)

    def _pause(self, attempt: int) -> float:
        if self.backoff == "linear":
            return self.interval * attempt
        if self.backoff == "exponential":
            return self.interval * _power(self.multiplier, attempt - 1)
        return self.interval


def _power(base: float, exponent: int) -> float:
    """base ** exponent; huge instead of an OverflowError, never infinity (0 * infinity is not a number)."""
    try:
        return float(base) ** exponent
    except OverflowError:
        return 1e300


def _codes(block: Reader) -> frozenset[str]:
    codes = block.items("terminal_on")
    if len(codes) > MOST_CODES:
        block.refuse("terminal_on", _("must have at most %(most)d codes"), most=MOST_CODES)
        return frozenset()
    for index, code in enumerate(codes):
        if not _is_code(code):
            message = _("must be an error code: a string or a whole number")
            block.problems.add_at(block.path, ("terminal_on", index), message)
    return frozenset(str(code) for code in codes if _is_code(code))


def _is_code(code: object) -> bool:
    if isinstance(code, str):
        return 0 < len(code) <= 200
    return isinstance(code, int) and not isinstance(code, bool) and abs(code) < 2**63
