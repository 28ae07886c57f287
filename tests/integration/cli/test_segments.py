"""NDJSON in and rows compacted, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import run
from tests.integration.fhir.test_ndjson import PATIENT, observation


@pytest.fixture
def home(tmp_path: Path) -> Path:
    assert run("node", "init", "--home", str(tmp_path / "node")).exit_code == 0
    return tmp_path / "node"


def test_ndjson_is_imported_and_a_bad_line_is_named(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "lines"
    folder.mkdir()
    (folder / "Patient.ndjson").write_text(json.dumps(PATIENT))
    good = [json.dumps(observation(number)) for number in range(20)]
    (folder / "Observation.ndjson").write_text("\n".join([*good, '{"resourceType":"Observation"}']))
    done = run("twin", "import", str(folder), "--home", str(home))
    assert done.exit_code == 2
    assert "1 patients, 1 of them new; records: 21 created" in done.output
    assert "Observation.ndjson:21" in done.output
    again = run("twin", "import", str(folder / "Observation.ndjson"), "--home", str(home), "--json")
    assert json.loads(again.stdout)["records"] == {"created": 0, "updated": 0, "unchanged": 20}
    assert run("twin", "list", "--count", "--home", str(home)).stdout.strip() == "1"


def test_compact_says_what_it_would_do_does_it_and_has_done_it(tmp_path: Path, home: Path) -> None:
    lines = tmp_path / "few.ndjson"
    for start in (0, 10):  # too few at a time to be sealed together at once
        resources = [PATIENT, *(observation(number) for number in range(start, start + 10))]
        lines.write_text("\n".join(map(json.dumps, resources)))
        assert run("twin", "import", str(lines), "--home", str(home)).exit_code == 0
    planned = json.loads(run("node", "compact", "--dry-run", "--home", str(home), "--json").stdout)
    assert (planned["rows"], planned["done"], planned["segments"]) == (20, False, None)
    assert "20 rows" in run("node", "compact", "--dry-run", "--home", str(home)).stdout
    done = json.loads(run("node", "compact", "--home", str(home), "--json").stdout)
    assert (done["rows"], done["twins"], done["segments"], done["done"], done["busy"]) == (20, 1, 1, True, 0)
    assert done["bytes_after"] < done["bytes_before"] / 4
    assert "0 rows" in run("node", "compact", "--home", str(home)).stdout
    again = run("twin", "import", str(lines), "--home", str(home), "--json")
    assert json.loads(again.stdout)["records"]["unchanged"] == 11
