"""python -m campaign.verdict: judges the database that the environment names, for a process that works on another one.

JSON on stdin, `{"started": {instance_id: kind}, "calls": [call]}`; on stdout what is wrong, as a list of texts.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import django


def main() -> int:
    django.setup()
    from campaign.judge import judge
    from campaign.service import Call

    given = json.load(sys.stdin)
    started = {instance_id: _kind(kind) for instance_id, kind in given["started"].items()}
    json.dump(judge(started=started, calls=[Call(**call) for call in given["calls"]]), sys.stdout)
    return 0


def _kind(given: dict[str, Any]) -> Any:
    from campaign.workload import Kind

    return Kind(**{**given, "manual": frozenset(given["manual"])})


if __name__ == "__main__":
    sys.exit(main())
