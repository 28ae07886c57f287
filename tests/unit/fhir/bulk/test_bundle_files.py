from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest

from twinward.core.errors import BadInput
from twinward.fhir.bulk.bundle_files import import_bundles
from twinward.fhir.bulk.inputs import read_file
from twinward.fhir.bulk.refusals import BadFile
from twinward.fhir.errors import InvalidResource
from twinward.fhir.json.strict_json import Limits


def patient(name: str) -> bytes:
    return json.dumps({"resourceType": "Patient", "id": name}).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.json").write_bytes(patient("a"))
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(patient("b")))
    (tmp_path / "c.json").write_bytes(b'{"resourceType":"Patient","id":"c","id":"c"}')
    (tmp_path / "d.json.gz").write_bytes(b"not gzip")
    (tmp_path / "e.json.gz").write_bytes(gzip.compress(patient("e"))[:-9])
    (tmp_path / "f.json").write_bytes(patient("f"))
    (tmp_path / "notes.txt").write_text("no bundle")
    (tmp_path / "folder.json").mkdir()
    return tmp_path


def test_bad_files_are_reported_and_the_good_ones_land(folder: Path) -> None:
    bad: list[BadFile] = []
    found = [one.reference for one in import_bundles([folder], on_bad_file=bad.append)]
    assert found == ["Patient/a", "Patient/b", "Patient/f"]
    assert [one.path.name for one in bad] == ["c.json", "d.json.gz", "e.json.gz"]
    assert [str(one.error) for one in bad] == [
        "Patient.id: the same key stands twice in one object",
        "not a gzip file",
        "the gzip file ends too early",
    ]


def test_without_a_listener_the_first_bad_file_stops(folder: Path) -> None:
    imports = import_bundles([folder])
    assert [next(imports).reference, next(imports).reference] == ["Patient/a", "Patient/b"]
    with pytest.raises(InvalidResource):
        next(imports)


def test_a_path_that_is_not_there_is_told_before_anything_is_read(folder: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        import_bundles([folder, folder / "missing.json"])
    empty = folder / "folder.json"
    with pytest.raises(BadInput, match="nothing to import"):
        import_bundles([empty])


def test_a_gzip_bomb_is_noticed_and_not_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.json.gz"
    bomb.write_bytes(gzip.compress(bytes(30_000_000)) * 2)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidResource, match="more than 1000 bytes"):
            read_file(bomb, Limits(size_bytes=1000))
        with pytest.raises(InvalidResource, match="more than 100000 bytes"):
            read_file(bomb, Limits(size_bytes=100_000))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_gzip_members_may_be_concatenated(tmp_path: Path) -> None:
    path = tmp_path / "two.json.gz"
    path.write_bytes(gzip.compress(b'{"resourceType":') + gzip.compress(b'"Patient"}'))
    assert read_file(path) == b'{"resourceType":"Patient"}'


def test_a_plain_file_is_read_no_further_than_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    path.write_bytes(b" " * 2000)
    with pytest.raises(InvalidResource, match="more than 1000 bytes"):
        read_file(path, Limits(size_bytes=1000))
