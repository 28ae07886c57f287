"""A study over one's own file from the command line: no node, no account, nothing charged."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.integration.cli.conftest import run
from twinward import federation

OWN_SIGNALS = """
[signals]
name = "blood"
steps = 1

[[signals.signal]]
name = "glucose"
unit = "mg/dL"
low = 70.0
high = 100.0
loinc = ["2339-0"]
substance = "glucose"

[[signals.signal]]
name = "sodium"
low = 135.0
high = 145.0
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "blood-1.toml"
    hospitals = [word for name in ("a", "b", "c") for word in ("--hospital", name)]
    assert run("study", "new", str(path), *hospitals).exit_code == 0
    text = path.read_text().replace("bins = 12", "bins = 1").replace('signals = "icu"', OWN_SIGNALS)
    path.write_text(text.replace("clip = 12.0", "clip = 2.0").replace("= 2700", "= 400"))
    return path


def write_data(path: Path, patients: int = 400) -> Path:
    random = np.random.default_rng(1)
    rows = random.normal([4.7, 140], [0.4, 2.5], (patients, 2))
    lines = [f"{n},{a:.2f},{b:.1f},{'f' if n % 2 else 'm'}" for n, (a, b) in enumerate(rows.tolist())]
    path.write_text("\n".join(["patient,glucose [mmol/L],sodium,group", *lines, "0,5,140,m"]) + "\n")
    return path


def test_a_study_over_a_file(study: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "own.csv")
    done = run("study", "run", str(study), "--data", str(data))
    assert done.exit_code == 0, done.output
    for words in ("400 patients", "1 further rows of a person were left out", "without privacy", "nothing registered"):
        assert words in done.stdout
    kept = federation.load_model(tmp_path / "blood-1.model")
    assert kept.model.study == federation.load_study(study)
    assert [one["name"] for one in kept.card["evaluation"]["operating_point"]["subgroups"]] == ["f", "m"]
    page = tmp_path / "blood-1.html"
    assert run("study", "report", str(tmp_path / "blood-1.model"), "--out", str(page)).exit_code == 0
    html = page.read_text()
    assert re.findall(r'(?:src|href|url\()="?(?!["#])[^">]*', html) == []
    for words in ("registered nowhere", "ceiling", "floor", "default-src", "prefers-color-scheme", "<td>f</td>"):
        assert words in html
    card = tmp_path / "blood-1.card.json"
    written = card.read_text()
    for part in ("limits", "privacy", "evaluation"):
        fields = json.loads(written)
        for broken in (fields | {part: None}, {name: value for name, value in fields.items() if name != part}):
            card.write_text(json.dumps(broken))
            done = run("study", "report", str(tmp_path / "blood-1.model"), "--out", str(tmp_path / "broken.html"))
            assert done.exit_code == 2, part
    assert not (tmp_path / "broken.html").exists()
    card.write_text(written)
    exported = run("study", "export", str(tmp_path / "blood-1.model"), "--onnx", str(tmp_path / "blood-1.onnx"))
    assert exported.exit_code == 0, exported.output
    session = onnxruntime.InferenceSession(tmp_path / "blood-1.onnx")
    own = federation.read_data(data, kept.model.study)
    (scores,) = session.run(["score"], {"stays": own.stays})
    np.testing.assert_allclose(scores, federation.score(kept.model, own), rtol=1e-5, atol=1e-5)
    again = run("study", "run", str(study), "--data", str(data))
    assert (again.exit_code, "study_id of its own" in again.stderr) == (4, True)


def test_a_study_over_a_file_answers_programs(study: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "own.csv")
    done = run("study", "run", str(study), "--data", str(data), "--json")
    shown = json.loads(done.stdout)
    assert (shown["patients"], shown["registered"], sorted(shown["auroc"])) == (
        400,
        False,
        ["IsolationForest", "private", "untrained", "without privacy"],
    )


def test_check_says_what_a_file_carries(study: Path, tmp_path: Path) -> None:
    data = tmp_path / "own.csv"
    data.write_text("glucose [mmol/L],sodium\n5,140\n5,\n,141\n4.5,\n")
    done = run("study", "check", str(study), "--data", str(data), "--json")
    shown = json.loads(done.stdout)
    assert (shown["patients"], shown["coverage"], shown["budgets"]) == (4, {"glucose": 0.75, "sodium": 0.5}, None)
    told = run("study", "check", str(study), "--data", str(data)).stdout
    assert "75.0%" in told
    assert "2 of 2 signals are carried, every one" in told
    data.write_text("glucose,sodium\n5,x\n")
    assert run("study", "check", str(study), "--data", str(data)).exit_code == 2


def test_a_bad_file_is_refused_and_leaves_nothing(study: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "own.csv", 20)
    data.write_text(data.read_text() + "x,4711.25y,1,m\n")
    done = run("study", "run", str(study), "--data", str(data))
    assert done.exit_code == 2
    assert "row 23, column glucose: not a number" in done.stderr
    assert "4711" not in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blood-1.toml", "own.csv"]
    nobody = run("study", "run", str(study), "--home", str(tmp_path / "none"))
    assert nobody.exit_code == 3


@pytest.mark.slow
def test_a_study_with_disease_groups_over_a_file(study: Path, tmp_path: Path) -> None:
    group = [
        "--disease-group",
        "f=150",
        "--disease-group",
        "m=20=http://snomed.info/sct|38341003,http://snomed.info/sct|1*",
    ]
    hospitals = [word for name in ("a", "b", "c") for word in ("--hospital", name)]
    made = tmp_path / "groups-1.toml"
    assert run("study", "new", str(made), "--epsilon", "4", *group, *hospitals).exit_code == 0
    tables = made.read_text().partition("[[disease_groups]]")
    text = tables[0].replace("bins = 12", "bins = 1").replace('signals = "icu"', OWN_SIGNALS) + "".join(tables[1:])
    made.write_text(
        text.replace("clip = 12.0", "clip = 2.0").replace("expected_patients = 2700", "expected_patients = 400")
    )
    checked = run("study", "check", str(made), "--data", str(write_data(tmp_path / "own.csv")))
    assert checked.exit_code == 0, checked.output
    assert "f, 150 patients expected: a head of its own" in checked.stdout
    assert re.search(r"m, 20 patients expected: the backbone alone: a head takes \d+ expected_patients", checked.stdout)
    done = run("study", "run", str(made), "--data", str(tmp_path / "own.csv"))
    assert done.exit_code == 0, done.output
    kept = federation.load_model(tmp_path / "groups-1.model")
    others, f, m = kept.card["disease_groups"]
    assert [one["name"] for one in (others, f, m)] == ["", "f", "m"]
    assert (f["has_head"], m["has_head"]) == (True, False)
    page = tmp_path / "groups-1.html"
    assert run("study", "report", str(tmp_path / "groups-1.model"), "--out", str(page)).exit_code == 0
    assert f"a head takes {m['patients_needed']} patients at this ε" in page.read_text()
    data = federation.read_data(tmp_path / "own.csv", kept.model.study)
    scores = federation.score(kept.model, data)
    for name in ("f", ""):
        out = tmp_path / f"head-{name}.onnx"
        assert (
            run(
                "study", "export", str(tmp_path / "groups-1.model"), "--onnx", str(out), "--disease-group", name
            ).exit_code
            == 0
        )
        session = onnxruntime.InferenceSession(out.read_bytes())
        found = session.run(None, {"stays": data.stays})[0]
        among = np.array(data.groups) == (name or "m")
        np.testing.assert_allclose(found[among], scores[among], rtol=1e-4)
    unknown = run("study", "export", str(tmp_path / "groups-1.model"), "--onnx", "x.onnx", "--disease-group", "x")
    assert unknown.exit_code == 2


@pytest.mark.parametrize(
    "given", ["kidneys", "=5", "kidneys=", "kidneys=-3", "kidneys=5=N18", "kidneys=9999", "Kidneys=5"]
)
def test_no_disease_group_is_written_that_a_protocol_cannot_have(tmp_path: Path, given: str) -> None:
    hospitals = [word for name in ("a", "b", "c") for word in ("--hospital", name)]
    refused = run("study", "new", str(tmp_path / "new.toml"), "--disease-group", given, *hospitals)
    assert (refused.exit_code, (tmp_path / "new.toml").exists()) == (2, False)
    assert "disease" in refused.stderr
