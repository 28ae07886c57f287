"""The layout keeps its promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.checks import house, passed

ROOT = Path(__file__).resolve().parents[2]
SOURCE_ROOTS = ("platform", "ledger", "contracts", "crypto")


def test_platform_is_still_the_standard_library_in_the_root() -> None:
    program = "import platform; assert callable(platform.python_version), platform; print(platform.__file__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not done.stdout.startswith(str(ROOT)), done.stdout


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_a_source_root_is_no_package(root: str) -> None:
    assert not (ROOT / root / "__init__.py").exists()


def test_no_file_and_no_function_is_longer_than_what_reads_well() -> None:
    assert house.too_large() == []


def test_no_files_import_each_other_in_a_circle() -> None:
    for root in (house.HOUSE, "crypto", "ledger", "contracts"):
        assert house.counts(ROOT / root)["circle files"] == []


@pytest.mark.parametrize("module", ["twinward.client", "twinward.cli.main"])
def test_a_vendor_needs_neither_torch_nor_web3(module: str) -> None:
    program = (
        f"import {module}, sys; print(sorted({{'torch', 'web3', 'fastapi', 'sqlalchemy', 'eth'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tests_that_passed_count_for_the_very_same_files_only(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    assert passed.state(tmp_path) == ""
    git("init")
    (tmp_path / ".gitignore").write_text("built\n")
    (tmp_path / "source").write_text("1")
    git("add", ".")
    before = passed.state(tmp_path)
    (tmp_path / "built").write_text("made")
    assert passed.state(tmp_path) == before != ""
    states = {before}
    for change in (
        lambda: (tmp_path / "source").write_text("2"),
        lambda: (tmp_path / "another").write_text("not added yet"),
        lambda: (tmp_path / "another").rename(tmp_path / "renamed"),
        lambda: (tmp_path / "source").unlink(),
    ):
        change()
        assert passed.state(tmp_path) not in states
        states.add(passed.state(tmp_path))
