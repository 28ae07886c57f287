"""The layout keeps its promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE_ROOTS = ("platform", "ledger", "contracts", "crypto")


def test_platform_is_still_the_standard_library_in_the_root() -> None:
    program = "import platform; assert callable(platform.python_version), platform; print(platform.__file__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not done.stdout.startswith(str(ROOT)), done.stdout


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_a_source_root_is_no_package(root: str) -> None:
    assert not (ROOT / root / "__init__.py").exists()


@pytest.mark.parametrize("module", ["twinward.client", "twinward.cli.main"])
def test_a_vendor_needs_neither_torch_nor_web3(module: str) -> None:
    program = (
        f"import {module}, sys; print(sorted({{'torch', 'web3', 'fastapi', 'sqlalchemy', 'eth'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
