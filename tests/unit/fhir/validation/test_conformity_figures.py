"""The command that prints how FHIR is kept to: it says what is absent, names what is wrong, and fails for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checks import conformity


def test_what_is_absent_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert conformity.main(tmp_path) == 0
    told = capsys.readouterr().out
    for folder in ("fhir-r4-examples", "synthea-r4", "fhir-primitives"):
        assert f"{folder}: absent" in told
    assert f"{len(conformity.BROKEN)} HL7's text" in told


def test_what_is_taken_though_broken_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        conformity, "BROKEN", {"per-1": {"resourceType": "Patient"}, "obs-6": {"resourceType": "Mouse"}}
    )
    assert conformity.main(tmp_path) == 1
    assert "WRONG per-1: taken though broken" in (told := capsys.readouterr().out)
    assert "WRONG obs-6: refused for another reason" in told


@pytest.mark.slow
def test_nothing_is_wrong(shared_data: Path) -> None:
    assert conformity.main(shared_data) == 0
