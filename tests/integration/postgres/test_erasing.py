"""A category and a twin erased where keyring and records are on a server, with more keys than one batch moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.postgres.fixtures import TENANT, build
from tests.postgres import Postgres
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import Action, Category
from twinward.vault.errors import CategoryShredded, RecordDamaged, TwinShredded
from twinward.vault.interfaces import Record
from twinward.vault.keys import rotation, wrapping_keys
from twinward_crypto.errors import KeyDestroyed
from twinward_crypto.hierarchy import wrapping_context
from twinward_crypto.keys import KekId
from twinward_crypto.providers.local import LocalKeyProvider

pytestmark = pytest.mark.slow


def test_an_erasure_on_a_server(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "FIRST_BATCH", 3)
    monkeypatch.setattr(wrapping_keys, "TWINS_PER_WRAPPING_KEY", 5)
    house = build(tmp_path / "keys", postgres.database(), postgres.database(), postgres.database())
    gone, part = house.twin(), house.twin()
    (labs,) = house.write(part, b"labs")
    vitals = Record(part, "Observation", Category.VITALS, b"vitals")
    (kept,) = house.vault.write(house.permit(part, Action.WRITE), [vitals])
    house.write(gone, b"one", b"two")
    house.keyring.reserve([new_twin_id(number) for number in range(40)])
    with house.keyring._file.reading() as connection:
        old = connection.exec_driver_sql("SELECT number, wrapped FROM wrapping_key").fetchall()
    assert labs.record_id is not None
    assert kept.record_id is not None

    house.keyring.shred(gone)
    house.keyring.shred(part, [Category.LABS])
    with pytest.raises(CategoryShredded):
        house.vault.read(house.permit(part), labs.record_id)
    first, second = house.keyring.unfinished()
    assert (first.twin, first.category_tags, second.twin, len(second.category_tags)) == (gone, (), part, 1)
    assert house.store.purge_twin(gone) == 2
    assert house.store.purge_category(part, second.category_tags[0]) == 1
    house.store.forget_deleted()
    seen: list[tuple[int, int]] = []
    assert house.keyring.rotate(lambda *said: seen.append(said), beyond=second.kek_version) == 2
    assert seen[-1] == (41, 41)
    assert len(seen) > 2
    assert house.keyring.retire() == [1]
    house.keyring.finish({first.number: 5, second.number: 6})
    assert house.keyring.unfinished() == []

    assert [one.content for one in house.vault.read_twin(house.permit(part))] == [b"vitals"]
    with pytest.raises(TwinShredded):
        house.vault.read_twin(house.permit(gone))
    for number, wrapped in old:  # what a replica that lags or an archived log still has
        place = wrapping_context(TENANT, number)
        with pytest.raises(KeyDestroyed):
            LocalKeyProvider(tmp_path / "keys").unwrap(KekId(TENANT, 1), bytes(wrapped), place)
    with house.keyring._file.writing() as connection:
        connection.exec_driver_sql("UPDATE wrapping_key SET wrapped = '\\x00'")
    with pytest.raises(RecordDamaged):
        house.keyring.rotate()
    house.close()
