"""What `make mutations` watches is there: files, their tests, and a reason for every change that is left out."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.checks.mutations.watched import WATCHED

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("path", WATCHED)
def test_a_watched_file_and_its_tests_are_there(path: str) -> None:
    assert (ROOT / path).is_file()
    for tests in WATCHED[path].split():
        assert tests == "--deselect" or (ROOT / tests.partition("::")[0]).exists()


def test_a_change_that_is_left_out_is_one_of_a_watched_line_and_has_a_reason() -> None:
    listed = tomllib.loads((ROOT / "tests/checks/mutations/equivalent.toml").read_text(encoding="utf-8"))["mutant"]
    for one in listed:
        lines = [line.strip() for line in (ROOT / one["path"]).read_text(encoding="utf-8").splitlines()]
        assert one["path"] in WATCHED
        assert one["line"] in lines
        assert one["becomes"]
        assert one["why"]
