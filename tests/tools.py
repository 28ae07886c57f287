"""Outside programs that some tests drive. Missing: skipped with the reason, or a failure where all are required."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent


def require(program: str, *, install: str = "", beside: Path | None = None) -> str:
    """The path of a program, looked up on PATH, among contracts/node_modules/.bin and in one folder more."""
    folders = (ROOT / "contracts" / "node_modules" / ".bin", *([beside] if beside else []))
    local = next((folder / program for folder in folders if (folder / program).exists()), None)
    found = str(local) if local else shutil.which(program)
    if found:
        return found
    _missing(program, install)


def require_path(path: Path, *, install: str) -> None:
    """Something that is built beside the tests."""
    if not path.exists():
        _missing(str(path.relative_to(ROOT)), install)


def _missing(name: str, install: str) -> NoReturn:
    reason = f"{name} is not installed" + (f" ({install})" if install else "")
    if os.environ.get("TWINWARD_TEST_REQUIRE_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)
