"""A web process alone says that no worker lives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.alerts.conftest import WHSEC
from tests.alerts.receiver import Receiver
from tests.house.conftest import ROOT, environment, until
from tests.house.supervisor import free_port

pytestmark = pytest.mark.cluster
RULE = """
from dist_task.alerts.models import AlertRule, Channel
channel = Channel.objects.create(name="ops", kind="webhook", secret="SIGNING", url={url!r})
AlertRule.objects.create(name="dead", kind="nothing_runs", severity="critical").channels.add(channel)
"""


def test_that_nothing_runs_is_told_by_a_web_process(folder: Path) -> None:
    receiver = Receiver()
    variables = {**environment(folder), "DIST_TASK_SECRET_SIGNING": WHSEC}
    manage = [sys.executable, "manage.py"]
    web = subprocess.Popen([*manage, "web", "--port", str(free_port())], cwd=ROOT, env=variables)
    try:
        for words in (["prepare"], ["shell", "--no-imports", "-c", RULE.format(url=receiver.url())]):
            subprocess.run([*manage, *words], cwd=ROOT, env=variables, check=True, capture_output=True)
        until(lambda: receiver.got)
    finally:
        web.terminate()
        web.wait(60)
        receiver.close()

    told = json.loads(receiver.got[0].raw)
    assert (told["type"], told["data"]["rule"]) == ("alert.firing", "dead")
