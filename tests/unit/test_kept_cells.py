"""Long benchmarks go on where they were, for the code they were begun with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.kept_cells import KeptCells, TimeOver


def test_what_was_measured_is_kept_until_the_code_changes(tmp_path: Path) -> None:
    code, file = tmp_path / "code", tmp_path / "cells.jsonl"
    code.mkdir()
    (code / "one.py").write_text("a = 1\n")

    def never() -> float:
        raise AssertionError

    assert KeptCells(file, [code]).value("icu 1", lambda: 0.7) == 0.7
    with file.open("a") as torn:
        torn.write('["killed in the mid')
    again = KeptCells(file, [code], within_s=-1)
    assert again.value("icu 1", never) == 0.7
    with pytest.raises(TimeOver):
        again.value("icu 2", never)
    (code / "one.py").write_text("a = 2\n")
    assert KeptCells(file, [code]).value("icu 1", lambda: 0.8) == 0.8
