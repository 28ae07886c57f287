"""A vault that an earlier release made opens here, byte for byte: its bytes are kept in ``tests/vectors/vault``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vectors.vault.generate import FOLDER, TENANT, GoldenVault
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.vault.errors import CategoryShredded
from twinward.vault.interfaces import Record
from twinward.vault.segments.compaction import Compactor

EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def golden(tmp_path: Path) -> Iterator[GoldenVault]:
    shutil.copytree(FOLDER / "home", tmp_path / "home")
    for path in (tmp_path / "home").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)  # a checkout does not keep that nobody else may read keys
    vault = GoldenVault(tmp_path / "home", FixedClock(EXPECTED["at_ms"]))
    yield vault
    vault.vault.close()


def test_every_version_of_every_golden_record_opens_byte_for_byte(golden: GoldenVault) -> None:
    assert sorted(golden.store.twins()) == sorted(EXPECTED["twins"])
    for twin, records in EXPECTED["twins"].items():
        assert golden.shown(TwinId(twin)) == records
    places = [place for twin in EXPECTED["twins"] for place in golden.store.of_twin(TwinId(twin))]
    kinds = {type(place).__name__ for place in places}
    assert kinds == {"SealedRow", "Member"}  # both layouts are among them


def test_a_golden_record_is_found_and_written_on(golden: GoldenVault) -> None:
    whole = TwinId(next(iter(EXPECTED["twins"])))
    for one in EXPECTED["twins"][whole]:
        heads = golden.vault.heads(one["references"][0])
        assert [head.category for head in heads if head.version == one["version"]] == [Category(one["category"])]
    one = EXPECTED["twins"][whole][0]
    write = golden.permit(whole, Action.WRITE)
    categories = {record["category"] for record in EXPECTED["twins"][whole] if record["record_id"] == one["record_id"]}
    newer = Record(whole, one["type"], Category(categories.pop()), b"new", tuple(one["references"]), one["record_id"])
    golden.vault.write(write, [newer])
    history = golden.vault.read_history(golden.permit(whole), one["record_id"])
    assert [record.content for record in history][-1] == b"new"


def test_golden_segments_are_compacted_with_what_is_new(golden: GoldenVault) -> None:
    report = Compactor(golden.store, golden.keyring, golden.clock, TENANT).run()
    assert not report.busy
    for twin, records in EXPECTED["twins"].items():
        assert golden.shown(TwinId(twin)) == records


def test_what_was_shredded_of_the_golden_vault_stays_shut(golden: GoldenVault) -> None:
    whole, part = map(TwinId, EXPECTED["twins"])
    assert {one["category"] for one in EXPECTED["twins"][whole]} - {
        one["category"] for one in EXPECTED["twins"][part]
    } == {"labs"}
    rows = list(golden.store.of_twin(part))
    keys = golden.keyring.keys(part)
    shut = 0
    for place in rows:
        try:
            keys.category_of(place.category_tag)
        except CategoryShredded:
            shut += 1
    assert shut == 21
