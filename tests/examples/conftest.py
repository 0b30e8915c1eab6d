"""Examples as people run them."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def example(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "script" / "example", *arguments], capture_output=True, text=True, timeout=120)
