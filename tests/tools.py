"""Outside programs that some tests drive. Missing: skipped with the reason, or a failure where all are required."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def require(program: str, *, install: str = "") -> str:
    """The path of a program, looked up on PATH and among contracts/node_modules/.bin."""
    local = ROOT / "contracts" / "node_modules" / ".bin" / program
    found = str(local) if local.exists() else shutil.which(program)
    if found:
        return found
    reason = f"{program} is not installed" + (f" ({install})" if install else "")
    if os.environ.get("TWINWARD_TEST_REQUIRE_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)
