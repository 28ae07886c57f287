"""Simulated hospitals on Flower's own engine, in its environment: the same study, the same kind of model."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.integration.cli.conftest import run
from tests.tools import ROOT, require_path
from twinward.core.errors import BadInput
from twinward.federation import api

PYTHON = ROOT / ".venv-simulation/bin/python"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_study_file_over_more_hospitals_side_by_side(tmp_path: Path) -> None:
    require_path(PYTHON, install="make simulation")
    study, own = tmp_path / "try-1.toml", tmp_path / "own.npz"
    api.save_study(api.new_study("try-1", epsilon=3.0, expected_patients=600), study)
    data = api.synthetic_data(api.load_study(study), 800)
    np.savez(own, stays=data.stays)
    command = [
        str(PYTHON),
        "-m",
        "twinward",
        "study",
        "run",
        str(study),
        "--data",
        str(own),
        "--simulate",
        "7",
        "--json",
    ]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TWINWARD_", "PYTHON"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=clean, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    shown = json.loads(done.stdout[done.stdout.index("{") :])
    assert shown["registered"] is False
    assert shown["auroc"]["private"]["auroc"] > shown["auroc"]["untrained"]["auroc"]
    kept = api.load_model(tmp_path / "try-1.model")
    assert kept.model.study.hospitals == tuple(f"hospital-{number:02d}" for number in range(1, 8))
    assert kept.model.study.epsilon == 3.0


def test_the_same_study_over_other_hospitals_is_another_protocol() -> None:
    study = api.new_study("try-1", epsilon=1.0, clip=0.7)
    more = api.with_hospitals(study, 50)
    assert len(more.hospitals) == 50
    assert (more.clip, more.epsilon, more.detector) == (0.7, 1.0, study.detector)
    assert more.fingerprint() != study.fingerprint()
    for count in (2, 65):
        with pytest.raises(BadInput, match="hospitals"):
            api.with_hospitals(study, count)


def test_what_cannot_be_simulated_or_abandoned_is_said(tmp_path: Path) -> None:
    path = tmp_path / "try-1.toml"
    api.save_study(api.new_study("try-1"), path)
    (tmp_path / "own.npz").touch()
    own = ("--data", str(tmp_path / "own.npz"))
    for options, says in ((("--abandon", *own), "nothing to abandon"), (("--simulate", "2", *own), "3")):
        done = run("study", "run", str(path), *options)
        assert (done.exit_code, says in done.stderr) == (2, True), done.output
