"""What the two profiles demand of the environment. Stdlib only: the supervisor asks before it starts anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from dist_task import deployed

PROFILES = ("development", "production")
LONGEST_NAME = 30
SHORTEST_KEY = 50
FEWEST_LETTERS = 5
WEAK_KEY_PREFIXES = ("django-insecure-", "development-")
FOUR_EYES_ACTS = ("compensate", "batch")
"""What may need a second person (four_eyes/words.py)."""
LEAST_HOURS, MOST_HOURS = 0.01, 720


def is_weak_key(key: str) -> bool:
    return len(key) < SHORTEST_KEY or len(set(key)) < FEWEST_LETTERS or key.startswith(WEAK_KEY_PREFIXES)


def is_open_to_all(hosts: Sequence[str]) -> bool:
    return not hosts or "*" in hosts


def four_eyes(given: str) -> tuple[str, ...]:
    """What the variable names, with commas."""
    return tuple(word for word in (part.strip() for part in given.split(",")) if word)


def four_eyes_problem(acts: Sequence[str], *, hours: object) -> str:
    """What is wrong with the four-eyes rule as it is set, as the rest of a sentence; "" where nothing is."""
    for act in acts:
        if act not in FOUR_EYES_ACTS:
            meant = get_close_matches(act, FOUR_EYES_ACTS, n=1) if len(act) <= 64 else []
            hint = f" (did you mean {meant[0]}?)" if meant else ""
            return f"knows {' and '.join(FOUR_EYES_ACTS)}, not {act[:64]!r}{hint}"
    try:
        allowed = LEAST_HOURS <= float(str(hours)) <= MOST_HOURS
    except ValueError:
        allowed = False
    return "" if allowed else f"needs a number of hours from {LEAST_HOURS} to {MOST_HOURS}, not {str(hours)[:64]!r}"


def refusal(environment: Mapping[str, str]) -> str:
    """Why the service does not start with it, in one sentence; empty when nothing speaks against it."""
    profile = environment.get("DIST_TASK_PROFILE", PROFILES[0])
    if profile not in PROFILES:
        return f"DIST_TASK_PROFILE is {' or '.join(PROFILES)}, not {profile!r}."
    name = environment.get("DIST_TASK_ENVIRONMENT", "")
    if len(name) > LONGEST_NAME or not name.isprintable():
        return f"DIST_TASK_ENVIRONMENT is a name of at most {LONGEST_NAME} characters, in one line."
    try:
        deployed.connections(environment.get(deployed.VARIABLE, ""))
    except ValueError as error:
        return f"{deployed.VARIABLE} {error}."
    acts, hours = (
        four_eyes(environment.get("DIST_TASK_FOUR_EYES", "")),
        environment.get("DIST_TASK_FOUR_EYES_HOURS", 24),
    )
    if problem := four_eyes_problem(acts, hours=hours):
        return f"the four-eyes rule (DIST_TASK_FOUR_EYES, DIST_TASK_FOUR_EYES_HOURS) {problem}."
    if profile != "production":
        return ""
    if is_weak_key(environment.get("SECRET_KEY", "")):
        return f"the production profile needs a SECRET_KEY of at least {SHORTEST_KEY} random characters."
    hosts = [name.strip() for name in environment.get("ALLOWED_HOSTS", "").split(",")]
    if is_open_to_all([name for name in hosts if name]):
        return "the production profile needs ALLOWED_HOSTS: the names under which it is reached, with commas, not *."
    return ""
