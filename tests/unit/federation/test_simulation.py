"""A study over one's own data, from Python: what is trained on, measured on, kept and loaded again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from twinward import federation
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.federation.errors import DataInvalid, ModelFileInvalid
from twinward.federation.local_ledger import LocalLedger
from twinward.federation.simulation import prepare

TABLE = federation.table_schema("six", {f"x{n}": (-1.0, 1.0) for n in range(6)})


def own(patients: int = 900, *, labels: bool = True, group: bool = True) -> federation.PatientData:
    """Correlated rows; anomalies break the correlation and nothing else."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(patients, 1)) + 0.3 * random.normal(size=(patients, 6))
    odd = random.random(patients) < 0.2
    rows[odd, 3:] *= -1
    return federation.data_of(
        rows, TABLE, label=odd.astype(int) if labels else None, group=["a", "b"] * (patients // 2) if group else None
    )


def test_a_study_from_python(tmp_path: Path) -> None:
    study = federation.new_study("own-1", signals=TABLE, epsilon=4.0, expected_patients=3000)
    assert federation.load_study(federation.save_study(study, tmp_path / "own-1.toml")) == study
    stages = []
    done = federation.run_simulation(study, own(3000), progress=lambda one: stages.append(one.stage))
    assert stages[0] == "joining"
    assert stages[-1] == "registering"
    private, untrained = done.comparison.private.auroc, done.comparison.untrained.auroc
    assert private > 0.8
    assert untrained < 0.6
    path = federation.save_model(done, tmp_path / "models")
    kept = federation.load_model(path)
    assert kept.model.hash() == done.model.hash()
    groups = kept.card["evaluation"]["operating_point"]["subgroups"]
    assert [one["name"] for one in groups] == ["a", "b"]
    assert kept.card["evaluation"]["benchmark_origin"] == "own"
    fresh = own(300, labels=False, group=False)
    assert federation.score(kept.model, fresh).shape == (300,)
    assert federation.evaluate(kept.model, own()).auroc > 0.75
    with pytest.raises(Conflict):
        federation.save_model(done, tmp_path / "models")
    with pytest.raises(Conflict):
        federation.save_study(study, tmp_path / "own-1.toml")


def test_labelled_anomalies_are_measured_on_and_never_trained_on() -> None:
    data = own(400)
    held, benchmark = prepare(data, 1)
    stays = held.held
    assert data.labels is not None
    anomalous = {tuple(row) for row in data.stays[data.labels][:, 0].tolist()}
    assert not anomalous & {tuple(row) for row in stays[:, 0].tolist()}
    tested = {tuple(row) for row in benchmark.test.stays[:, 0].tolist()}
    assert len(tested) == 100
    assert not tested & {tuple(row) for row in stays[:, 0].tolist()}
    unlabelled = own(400, labels=False)
    assert len(prepare(unlabelled, 1)[0].held) == 300
    with pytest.raises(DataInvalid, match="anomalies and others"):
        prepare(federation.data_of(np.zeros((40, 6)), TABLE, label=[0] * 40), 1)
    with pytest.raises(DataInvalid, match="cannot be split"):
        prepare(own(2).take(np.array([0])), 1)


def test_hospitals_may_bring_their_own_shares() -> None:
    study = federation.new_study("own-2", signals="checkup", expected_patients=120)
    shares = {name: federation.synthetic_data(study, 40, seed).stays for seed, name in enumerate(study.hospitals)}
    assert federation.run_simulation(study, shares).card.content
    with pytest.raises(BadInput, match="hospital-a, hospital-b, hospital-c"):
        federation.run_simulation(study, dict(list(shares.items())[:2]))


def test_a_card_that_is_another_models_is_refused(tmp_path: Path) -> None:
    study = federation.new_study("own-3", signals=TABLE, expected_patients=900)
    path = federation.save_model(federation.run_simulation(study, own()), tmp_path)
    card = tmp_path / "own-3.card.json"
    written = json.loads(card.read_text())
    for content in (json.dumps(written | {"model_sha256": "0" * 64}), "[]", "{", "[" * 100_000):
        card.write_text(content)
        with pytest.raises(ModelFileInvalid, match="card"):
            federation.load_model(path)
    card.unlink()
    with pytest.raises(NotFound, match=re.escape("own-3.card.json")):
        federation.load_model(path)


def test_the_local_ledger_binds() -> None:
    ledger = LocalLedger()
    number = ledger.reserve(b"p" * 32, ["a", "b", "c"], 7)
    with pytest.raises(Conflict, match="before"):
        ledger.reserve(b"p" * 32, ["a"], 7)
    with pytest.raises(Conflict, match="pays for no model"):
        ledger.register(number, b"", b"", 1, 1)
    found = ledger.of_study(b"p" * 32)
    assert found is not None
    assert (found.live, found.micros) == (True, 7)
    ledger.commit(number)
    settled = ledger.of_study(b"p" * 32)
    assert settled is not None
    assert not settled.live
    assert ledger.register(number, b"", b"", 1, 1) == 1
    for refused in (lambda: ledger.register(number, b"", b"", 1, 1), lambda: ledger.burn(number)):
        with pytest.raises(Conflict):
            refused()
    with pytest.raises(NotFound):
        ledger.commit(2)
    assert ledger.of_study(b"q" * 32) is None


def test_the_room_is_imported_without_what_it_computes_with() -> None:
    program = "import sys; import twinward.federation as f; print({'numpy', 'sklearn', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert all(hasattr(federation, name) for name in federation.__all__)
    assert not hasattr(federation, "Oracle")
