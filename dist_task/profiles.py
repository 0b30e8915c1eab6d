"""What the two profiles demand of the environment. Stdlib only: the supervisor asks before it starts anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dist_task import deployed

PROFILES = ("development", "production")
LONGEST_NAME = 30
SHORTEST_KEY = 50
FEWEST_LETTERS = 5
WEAK_KEY_PREFIXES = ("django-insecure-", "development-")


def is_weak_key(key: str) -> bool:
    return len(key) < SHORTEST_KEY or len(set(key)) < FEWEST_LETTERS or key.startswith(WEAK_KEY_PREFIXES)


def is_open_to_all(hosts: Sequence[str]) -> bool:
    return not hosts or "*" in hosts


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
    if profile != "production":
        return ""
    if is_weak_key(environment.get("SECRET_KEY", "")):
        return f"the production profile needs a SECRET_KEY of at least {SHORTEST_KEY} random characters."
    hosts = [name.strip() for name in environment.get("ALLOWED_HOSTS", "").split(",")]
    if is_open_to_all([name for name in hosts if name]):
        return "the production profile needs ALLOWED_HOSTS: the names under which it is reached, with commas, not *."
    return ""
