"""``twin import``: what is taken whole, what is no record, pipes, and what is told of that which was refused."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from tests.integration.cli.conftest import Hospital
from twinward.cli.twin.imports import ImportReport, import_into
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import Again
from twinward.fhir.bulk.inputs import find_inputs
from twinward.fhir.mapping.ids import Origin
from twinward.node import Node, open_node
from twinward.twins.ingest.bulk_import import BulkImport

SECRET = "Xanthippe"


def patient(resource_id: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": resource_id, **more}


def observation(whose: str, **more: Any) -> dict[str, Any]:
    made = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    return made | {"subject": {"reference": f"Patient/{whose}"}} | more


def bundle(*resources: dict[str, Any], kind: str = "collection") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": [{"resource": one} for one in resources]}


def lines(*resources: dict[str, Any] | str) -> str:
    return "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in resources)


@pytest.fixture
def new() -> str:
    return uuid.uuid4().hex


@pytest.fixture(scope="module")
def node(hospital: Hospital) -> Iterator[Node]:
    with open_node(hospital.home) as opened:
        yield opened


class _Input:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def taken(node: Node, *paths: Path | bytes, again: Again | None = None) -> tuple[ImportReport, list[dict[str, Any]]]:
    """An import, as the command does it; bytes stand on standard input."""
    file = io.BytesIO()
    report = ImportReport("test", as_json=False, file=file)
    typed = [one for one in paths if isinstance(one, bytes)]
    with pytest.MonkeyPatch.context() as patch, Progress(disable=True) as bars:
        patch.setattr(sys, "stdin", _Input(b"".join(typed)))
        inputs = find_inputs([Path("-") if isinstance(one, bytes) else one for one in paths])
        import_into(node, inputs, Origin(again=again), report, bars)
    report.end(None)
    return report, json.loads(file.getvalue())["refused"]


def counts(report: ImportReport) -> tuple[int, int]:
    return report.new_twins, report.changes["created"]


def kept(node: Node, *references: str) -> list[bool]:
    return [node.vault.locate(one) is not None for one in references]


def test_a_bundle_is_taken_whole_or_not_at_all(node: Node, tmp_path: Path, new: str) -> None:
    a, b = f"a{new}", f"b{new}"
    file = tmp_path / "c.json"
    ward = {"resourceType": "Organization", "id": f"w{new}", "name": "Ward"}
    good = [ward, patient(a), patient(b), observation(a, id=f"o{new}")]
    file.write_text(json.dumps(bundle(*good, observation("elsewhere" + new, id=f"x{new}"))))
    before = len(node.twins.all())
    report, refused = taken(node, file)
    assert (report.patients, counts(report)) == (0, (0, 0))
    assert [(one["entry"], one["issues"][0]["path"]) for one in refused] == [(4, "Bundle.entry[4].resource.subject")]
    assert len(node.twins.all()) == before
    assert not any(kept(node, f"Organization/w{new}", f"Patient/{a}", f"Patient/{b}"))
    file.write_text(json.dumps(bundle(*good)))
    assert counts(taken(node, file)[0]) == (2, 4)
    file.write_text(json.dumps(bundle(patient("n" + new), observation(b, id=f"y{new}"), patient(a, gender="male"))))
    _, refused = taken(node, file)
    assert (refused[0]["entry"], refused[0]["issues"][0]["code"]) == (2, "conflict")
    assert not any(kept(node, f"Patient/n{new}", f"Observation/y{new}"))


OUTCOME = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "informational"}]}


def test_the_outcome_of_a_search_is_no_record(node: Node, tmp_path: Path, new: str) -> None:
    doctor = {"resourceType": "Practitioner", "id": f"d{new}"}
    found = [
        {"resource": patient(new), "search": {"mode": "match"}},
        {"resource": doctor, "search": {"mode": "include"}},
        {"resource": OUTCOME, "search": {"mode": "outcome"}},
        {"resource": OUTCOME | {"id": f"u{new}"}},
    ]
    file = tmp_path / "s.json"
    file.write_text(json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": found}))
    report, refused = taken(node, file)
    assert (counts(report), refused) == ((1, 2), [])
    assert kept(node, f"Practitioner/d{new}", f"OperationOutcome/u{new}") == [True, False]
    report, refused = taken(node, lines(patient("e" + new), OUTCOME).encode())
    assert (counts(report), refused) == ((1, 1), [])


@pytest.mark.parametrize("mode", ["outcome", "x", 7, ["match"]])
def test_nothing_is_left_out_because_it_is_called_an_outcome(node: Node, tmp_path: Path, mode: object) -> None:
    file = tmp_path / "s.json"
    entry = {"resource": patient("z"), "search": {"mode": mode}}
    file.write_text(json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": [entry]}))
    _, refused = taken(node, file)
    assert [one["issues"][0]["path"] for one in refused] == ["Bundle.entry[0].search.mode"]


def test_standard_input_is_a_file_whatever_it_holds(node: Node, tmp_path: Path, new: str) -> None:
    puff = observation(new)
    content = lines(puff, puff, patient(new)).encode()
    report, refused = taken(node, content)
    assert (counts(report), refused) == ((1, 3), [])
    report, refused = taken(node, content)
    assert [(one["file"], one["line"], one["issues"][0]["path"]) for one in refused] == [
        ("-", 1, "Observation"),
        ("-", 2, "Observation"),
    ]
    _, refused = taken(node, lines(observation("nobody" + new)).encode())
    assert (refused[0]["issues"][0]["code"], refused[0]["issues"][0]["path"]) == ("not-found", "Observation.subject")
    file = tmp_path / "same.ndjson"
    file.write_bytes(content)
    report, refused = taken(node, file, again=Again.SKIP)
    assert (report.changes["unchanged"], refused) == (3, [])
    other = bundle(patient("b" + new), observation("b" + new))
    for written in (json.dumps(other, indent=2), json.dumps(other)):
        assert counts(taken(node, gzip.compress(written.encode()), again=Again.NEW)[0]) == (1, 2)
    _, refused = taken(node, b"\n")
    assert "standard input is empty" in refused[0]["message"]


def test_lines_of_a_pipe_that_breaks_off_are_named_and_not_guessed(node: Node, new: str) -> None:
    content = gzip.compress(lines(patient(new), observation(new)).encode() + os.urandom(99).hex().encode())[:-20]
    report, refused = taken(node, content)
    assert counts(report) == (1, 1)
    assert [one["line"] for one in refused] == [2, None]  # without an id it is known by the whole pipe alone


def test_pipes_are_read_once_and_find_each_others_patients(node: Node, tmp_path: Path, new: str) -> None:
    contents = [lines(observation(new, id=f"o{new}")), json.dumps(bundle(patient("b" + new))), lines(patient(new))]
    pipes = [tmp_path / name for name in ("Observation.ndjson", "bundle.json", "patients")]

    def write() -> None:  # one after the other, as a shell's process does
        for pipe, content in zip(pipes, contents, strict=True):
            pipe.write_text(content)

    for pipe in pipes:
        os.mkfifo(pipe)
    writer = threading.Thread(target=write)
    writer.start()
    report, refused = taken(node, *pipes)
    writer.join(20)
    assert (counts(report), refused) == ((2, 3), [])


def test_new_makes_another_of_lines_without_an_id_each_time(node: Node, tmp_path: Path, new: str) -> None:
    file = tmp_path / "n.ndjson"
    file.write_text(lines(patient(new), observation(new), observation(new)))
    assert counts(taken(node, file)[0]) == (1, 3)
    for given in (file, file, file.read_bytes(), file.read_bytes()):
        report, refused = taken(node, given, again=Again.NEW)
        assert (counts(report), refused) == ((1, 3), [])


def test_a_report_names_all_that_was_refused_and_nothing_of_what_it_holds(
    hospital: Hospital, tmp_path: Path, new: str
) -> None:
    bad = patient("b" + new, name=[{"family": SECRET, "given": [7]}], birthDate="12." + SECRET)
    (tmp_path / "l.ndjson").write_text(lines(patient(new), bad, "{" + SECRET, observation(SECRET)))
    (tmp_path / "b.json").write_text(json.dumps(bundle(patient("c" + new), bad | {"gender": SECRET})))
    (tmp_path / "d.ndjson.gz").write_bytes(gzip.compress(lines(patient("g" + new)).encode())[:-9])
    report = tmp_path / "out.json"
    files = [str(tmp_path / name) for name in ("b.json", "l.ndjson", "d.ndjson.gz")]
    told = hospital.run("twin", "import", *files, "--report", str(report))
    assert told.exit_code == 2
    shown = json.loads(report.read_text())
    assert report.stat().st_mode & 0o777 == 0o600
    assert (shown["complete"], shown["error"], shown["patients"]) == (True, None, 2)
    places = {(Path(one["file"]).name, one["line"], one["entry"]) for one in shown["refused"]}
    assert places == {("b.json", None, 1), ("d.ndjson.gz", None, None), *(("l.ndjson", n, None) for n in (2, 3, 4))}
    (in_bundle,) = (one for one in shown["refused"] if one["entry"] == 1)
    paths = {one["path"] for one in in_bundle["issues"]}
    where = "Bundle.entry[1].resource"
    assert paths >= {f"{where}.name[0].given[0]", f"{where}.birthDate", f"{where}.gender"}
    assert all(one["code"] and one["message"] for each in shown["refused"] for one in each["issues"])
    assert "l.ndjson:2: Patient.name[0].given[0]" in told.stderr
    assert SECRET not in report.read_text() + told.output
    assert hospital.run("twin", "import", *files, "--report", str(report)).exit_code == 4
    printed = hospital.run("twin", "import", files[0], "--report", "-")
    assert json.loads(printed.stdout)["refused"][0]["entry"] == 1


def test_a_report_says_how_far_an_import_came_that_broke_off(
    hospital: Hospital, tmp_path: Path, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise Unavailable("the vault does not answer")

    report = tmp_path / "out.json"
    monkeypatch.setattr(BulkImport, "take", gone)
    (tmp_path / "b.json").write_text(json.dumps(bundle(patient(new))))
    done = hospital.run(
        "twin", "import", str(tmp_path / "b.json"), "-", "--report", str(report), input=lines("{}", patient("x"))
    )
    assert done.exit_code == 7
    shown = json.loads(report.read_text())
    assert (shown["complete"], shown["patients"], len(shown["refused"])) == (False, 1, 1)
