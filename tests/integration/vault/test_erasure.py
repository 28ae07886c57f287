from __future__ import annotations

import json
import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.fhir.hospital import OFFICER, SIMILARITY_YES, SYSTEM
from tests.integration.vault.erasure_fixtures import DATABASES, EVERY, KEPT, TENANT, ErasureHouse, restored
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessRequest
from twinward.core.errors import BadInput, Unavailable
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import Action, Category, Purpose
from twinward.vault.errors import CategoryShredded, RecordDamaged, TwinNotFound, TwinShredded
from twinward.vault.interfaces import Draft
from twinward.vault.keys.keyring import Keyring
from twinward.vault.keys.twin_keys import CHECK_EVERY_MS
from twinward_crypto import hierarchy
from twinward_crypto.envelope import generation_of, open_sealed
from twinward_crypto.errors import KeyDestroyed, KeyProviderError, OpenError
from twinward_crypto.kdf import derive, length_prefixed
from twinward_crypto.keys import KekId
from twinward_crypto.padding import unpad

ALL_LEFT = ["labs", "labs", "labs", "psychiatry", "vitals"]
LABS_GONE = ["psychiatry", "vitals"]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[ErasureHouse]:
    made = ErasureHouse(tmp_path / "node")
    yield made
    made.close()


def test_an_erased_twin_leaves_no_row_tag_or_consent(house: ErasureHouse) -> None:
    twin, other = house.twin(), house.twin()
    house.consents.put(twin, (SIMILARITY_YES,))
    (receipt,) = house.erasures.erase([house.request(twin)])
    assert (receipt.twin, receipt.categories) == (twin, frozenset())
    assert house.store.twins() == [other]
    assert house.vault.locate(f"Observation/{twin}-labs") is None
    assert house.consents.current(twin).version == 0
    assert house.contents(other) == ALL_LEFT
    with pytest.raises(TwinShredded):
        house.vault.read_twin(house.permit(twin))
    with pytest.raises(TwinShredded):
        house.keyring.create(twin)
    assert house.keyring.unfinished() == []


def test_the_log_says_who_had_what_erased_and_why(house: ErasureHouse) -> None:
    twin, other = house.twin(), house.twin()
    whole, part = house.erasures.erase([house.request(twin), house.request(other, [Category.LABS])])
    deeds = [event for event in house.hospital.trail.events if ("shredded", "done") in event.detail]
    assert [(one.agent, one.twin, one.action) for one in deeds] == [
        (OFFICER.id, twin, Action.SHRED),
        (OFFICER.id, other, Action.SHRED),
    ]
    assert [one.purpose for one in deeds] == [Purpose.PATIENT_REQUEST] * 2
    assert deeds[1].categories == (Category.FEATURES, Category.LABS)
    assert dict(deeds[0].detail)["decided_at_index"] == str(whole.decided_at_index)
    assert part.kek == whole.kek == 2
    assert dict(deeds[1].detail)["keks_destroyed_up_to"] == "1"


def test_no_old_backup_opens_an_erased_twin_and_survivors_read(house: ErasureHouse, tmp_path: Path) -> None:
    twin, other = house.twin(), house.twin()
    old = house.back_up(tmp_path / "old")
    house.erasures.erase([house.request(twin)])
    new = house.back_up(tmp_path / "new")
    everything = restored(house, (old, DATABASES))  # keyring and records as they were, the key service as it is
    assert other in everything.store.twins()
    for one in (twin, other):
        with pytest.raises(TwinShredded):
            everything.vault.read_twin(everything.permit(one))
    records = restored(everything, (old, ("records.db",)), (new, ("keyring.db",)))
    assert twin in records.store.twins()
    with pytest.raises(TwinShredded):
        records.vault.read_twin(records.permit(twin))
    assert records.contents(other) == ALL_LEFT
    records.close()


def test_no_old_backup_opens_an_erased_category_and_the_rest_reads(house: ErasureHouse, tmp_path: Path) -> None:
    twin, other = house.twin(), house.twin()
    labs = [one for one in house.vault.read_twin(house.permit(twin)) if one.category is Category.LABS]
    old = house.back_up(tmp_path / "old")
    house.erasures.erase([house.request(twin, [Category.LABS])])
    assert house.contents(twin) == LABS_GONE
    new = house.back_up(tmp_path / "new")
    everything = restored(house, (old, DATABASES))
    with pytest.raises(TwinShredded):
        everything.vault.read_twin(everything.permit(twin))
    records = restored(everything, (old, ("records.db",)), (new, ("keyring.db",)))
    assert records.store.count() == 10
    assert records.contents(twin) == LABS_GONE
    assert records.contents(other) == ALL_LEFT
    for one in labs:
        assert one.record_id is not None
        with pytest.raises(CategoryShredded):
            records.vault.read(records.permit(twin), one.record_id)
    records.close()


def test_whoever_has_an_old_keyring_and_the_key_service_has_nothing(house: ErasureHouse, tmp_path: Path) -> None:
    """The very bytes that a thief would try: what wrapped the key of before, under every KEK that there is."""
    twin = house.twin()
    old = house.back_up(tmp_path / "old")
    house.erasures.erase([house.request(twin, [Category.LABS])])
    with sqlite3.connect(old / "keyring.db") as thief:
        (number, wrapped) = thief.execute("SELECT number, wrapped FROM wrapping_key").fetchone()
    thief.close()
    context = hierarchy.wrapping_context(TENANT, number)
    with pytest.raises(KeyDestroyed):
        house.provider.unwrap(KekId(TENANT, 1), wrapped, context)
    with pytest.raises(OpenError):
        house.provider.unwrap(KekId(TENANT, 2), wrapped, context)


def test_segments_are_erased_by_category_too(house: ErasureHouse, tmp_path: Path) -> None:
    twin, other = house.twin(), house.twin()
    for one in (twin, other):
        drafts = [
            Draft(
                category, ["Observation"] * 3, [(f"{one}/{category}/{n}",) for n in range(3)], [b"seg"] * 3, ["m"] * 3
            )
            for category in (Category.LABS, Category.VITALS)
        ]
        house.vault.write_many([(house.permit(one, Action.WRITE), [])], [(house.permit(one, Action.WRITE), drafts)])
    old = house.back_up(tmp_path / "old")
    house.erasures.erase([house.request(twin, [Category.LABS]), house.request(other)])
    assert house.contents(twin) == ["psychiatry", "seg", "seg", "seg", "vitals"]
    assert house.vault.locate(f"{twin}/labs/0") is None
    new = house.back_up(tmp_path / "new")
    records = restored(house, (old, ("records.db",)), (new, ("keyring.db",)))
    assert records.contents(twin) == ["psychiatry", "seg", "seg", "seg", "vitals"]
    with pytest.raises(TwinShredded):
        records.vault.read_twin(records.permit(other))
    records.close()


def test_other_categories_rows_are_not_rewritten(house: ErasureHouse) -> None:
    twin = house.twin()
    before = {row.record_id: row for row in house.store.of_twin(twin)}
    house.erasures.erase([house.request(twin, [Category.LABS])])
    after = {row.record_id: row for row in house.store.of_twin(twin)}
    assert len(after) == len(KEPT)
    assert all(before[name] == row for name, row in after.items())


def test_a_category_goes_on_after_it_was_erased_and_may_be_erased_again(house: ErasureHouse) -> None:
    twin = house.twin()
    for round_ in range(3):
        house.erasures.erase([house.request(twin, [Category.LABS])])
        assert house.contents(twin) == LABS_GONE
        house.write(twin, [Category.LABS])
        assert house.contents(twin) == ["labs", *LABS_GONE]
        assert house.keyring.keys(twin).generation == round_ + 2
    house.erasures.erase([house.request(twin, EVERY)])
    assert house.contents(twin) == []
    assert house.keyring.audit_key(twin)


def test_events_about_a_twin_outlive_the_erasure_of_a_category(house: ErasureHouse) -> None:
    twin = house.twin()
    before = house.keyring.audit_key(twin)
    house.erasures.erase([house.request(twin, [Category.PSYCHIATRY])])
    assert house.keyring.audit_key(twin) == before
    house.erasures.erase([house.request(twin)])
    with pytest.raises(TwinShredded):
        house.keyring.audit_key(twin)


def test_the_feature_vector_goes_with_what_it_was_computed_from(house: ErasureHouse) -> None:
    twin = house.twin(Category.LABS, Category.VITALS, Category.FEATURES)
    house.erasures.erase([house.request(twin, [Category.LABS])])
    assert house.contents(twin) == ["vitals"]


def test_erasures_share_one_rotation(house: ErasureHouse) -> None:
    twins = [house.twin(Category.LABS) for _ in range(5)]
    for one in twins[:2]:
        house.erasures.order([house.request(one)])
    house.erasures.order([house.request(twins[2], [Category.LABS]), house.request(twins[3])])
    assert len(house.keyring.unfinished()) == 4
    seen: list[tuple[int, int]] = []
    done = house.erasures.finish(lambda *said: seen.append(said))
    assert [one.twin for one in done] == twins[:4]
    assert house.keyring.census().keks == (2,)
    assert seen == [(2, 2)]
    assert house.erasures.finish() == []
    assert house.keyring.census().keks == (2,)


def test_a_rotation_that_was_under_way_does_not_shelter_what_is_shredded(house: ErasureHouse, tmp_path: Path) -> None:
    """A key that was under the *new* KEK already, and so in backups under it, when its twin was shredded."""

    class Stopped(Exception):
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("twinward.vault.keys.wrapping_keys.TWINS_PER_WRAPPING_KEY", 1)
        twins = [house.twin(Category.LABS) for _ in range(4)]

    def stop(_done: int, _total: int) -> None:
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("twinward.vault.keys.rotation.FIRST_BATCH", 1)
        with pytest.raises(Stopped):
            house.keyring.rotate(stop)
    assert house.keyring.census().wrapped == {1: 3, 2: 1}
    backup = house.back_up(tmp_path / "mid")
    assert house.erasures.plan().retiring == (1, 2)
    house.erasures.erase([house.request(twins[0])])
    assert house.keyring.census().keks == (3,)
    again = restored(house, (backup, ("keyring.db", "records.db")))
    with pytest.raises(TwinShredded):
        again.vault.read_twin(again.permit(twins[0]))
    again.close()


def test_nothing_is_erased_unless_all_may_be(house: ErasureHouse) -> None:
    twin, other = house.twin(), house.twin()
    refused = AccessRequest(SYSTEM, Action.SHRED, Purpose.COMPLIANCE, other)
    with pytest.raises(AccessDenied):
        house.erasures.erase([house.request(twin), refused])
    with pytest.raises(TwinNotFound):
        house.erasures.erase([house.request(twin), house.request(new_twin_id(0))])
    for wrong in (house.request(twin), AccessRequest(OFFICER, Action.READ, Purpose.COMPLIANCE, other)):
        with pytest.raises(BadInput):
            house.erasures.erase([house.request(twin), wrong])
    assert house.contents(twin) == house.contents(other) == ALL_LEFT
    assert house.keyring.unfinished() == []


def test_categories_of_a_twin_that_is_gone_cannot_be_erased(house: ErasureHouse) -> None:
    twin = house.twin()
    house.keyring.reserve([expected := new_twin_id(1)])
    house.erasures.erase([house.request(twin)])
    with pytest.raises(TwinShredded):
        house.erasures.erase([house.request(twin, [Category.LABS])])
    with pytest.raises(TwinNotFound):
        house.erasures.erase([house.request(expected, [Category.LABS])])
    assert [one.twin for one in house.erasures.erase([house.request(twin)])] == [twin]


def test_another_process_notices_within_a_second(house: ErasureHouse) -> None:
    twin, other = house.twin(), house.twin()
    server = Keyring(house.folder / "keyring.db", house.provider, TENANT, house.clock)
    old_tag = server.keys(twin).category_tag(Category.LABS)
    server.keys(other)
    house.erasures.erase([house.request(twin, [Category.LABS]), house.request(other)])
    house.clock.advance(CHECK_EVERY_MS)
    assert server.keys(twin).category_tag(Category.LABS) != old_tag
    with pytest.raises(TwinShredded):
        server.keys(other)
    server.close()


def test_what_was_deleted_is_in_no_file(house: ErasureHouse) -> None:
    twin, other = house.twin(), house.twin()
    rows = list(house.store.of_twin(twin))
    doomed = [row.sealed for row in rows] + [tag for row in rows for tag in row.tags]
    with sqlite3.connect(house.folder / "keyring.db") as connection:
        doomed += [one[0] for one in connection.execute("SELECT wrapped FROM wrapped_twin_key").fetchall()]
    connection.close()
    house.erasures.erase([house.request(twin), house.request(other, [Category.LABS])])
    files = [path for path in house.folder.glob("*.db*") if not path.name.startswith("log")]
    for path in files:
        data = path.read_bytes()
        assert not any(one in data for one in doomed), path


@pytest.mark.parametrize("step", ["purge", "rotate", "retire", "log"])
def test_what_failed_half_way_is_finished(house: ErasureHouse, step: str, tmp_path: Path) -> None:
    twin, other = house.twin(), house.twin()
    old = house.back_up(tmp_path / "old")

    def fail(*_: object, **__: object) -> None:
        raise Unavailable("not now")

    broken = {
        "purge": (house.store, "forget_deleted"),
        "rotate": (house.provider, "rewrap_many"),
        "retire": (house.provider, "destroy"),
        "log": (house.hospital.trail, "record"),
    }
    house.erasures.order([house.request(twin), house.request(other, [Category.LABS])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*broken[step], fail)
        with pytest.raises(Unavailable):
            house.erasures.finish()
    assert len(house.keyring.unfinished()) == 2
    again = restored(house)
    assert len(again.erasures.finish()) == 2
    assert again.keyring.rotation_plan().retiring == (max(again.keyring.census().keks),)
    assert again.contents(other) == LABS_GONE
    thief = restored(again, (old, ("keyring.db", "records.db")))
    for one in (twin, other):
        with pytest.raises(TwinShredded):
            thief.vault.read_twin(thief.permit(one))
    thief.close()


def test_a_destruction_that_was_interrupted_is_finished_by_the_next_retire(house: ErasureHouse) -> None:
    """A provider that has marked a KEK as destroyed no longer lists it: the keyring still knows."""
    house.twin()
    house.keyring.rotate()
    destroy = house.provider.destroy

    def half(key: KekId) -> None:
        destroy(key)
        raise KeyProviderError("killed before it was over")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.provider, "destroy", half)
        with pytest.raises(Unavailable):
            house.keyring.retire()
    assert house.keyring.idle_keks() == [1]
    assert house.keyring.retire() == [1]
    assert house.keyring.retire() == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE wrapped_twin_key SET kept = zeroblob(900)",
        "UPDATE wrapped_twin_key SET kept = NULL, generation = 1",
        "UPDATE wrapped_twin_key SET kept = (SELECT kept FROM wrapped_twin_key WHERE twin <> :twin)",
        "UPDATE wrapped_twin_key SET kept = 'text'",
    ],
)
def test_altered_kept_keys_are_noticed(house: ErasureHouse, statement: str) -> None:
    twin, other = house.twin(), house.twin()
    house.erasures.erase([house.request(one, [Category.LABS]) for one in (twin, other)])
    with sqlite3.connect(house.folder / "keyring.db") as connection:
        connection.execute(f"{statement} WHERE twin = :twin", {"twin": twin})
    connection.close()
    with pytest.raises(RecordDamaged):
        Keyring(house.folder / "keyring.db", house.provider, TENANT, house.clock).keys(twin)


def test_an_altered_order_is_not_logged_as_somebodys(house: ErasureHouse) -> None:
    twin = house.twin()
    house.erasures.order([house.request(twin)])
    with sqlite3.connect(house.folder / "keyring.db") as connection:
        connection.execute("UPDATE erasure SET sealed = zeroblob(300)")
    connection.close()
    with pytest.raises(RecordDamaged):
        house.erasures.finish()


def test_kept_keys_are_sealed_as_specified(house: ErasureHouse) -> None:
    twin = house.twin()
    before = house.keyring.keys(twin)
    house.erasures.erase([house.request(twin, [Category.LABS])])
    with sqlite3.connect(house.folder / "keyring.db") as connection:
        row = connection.execute("SELECT generation, wrapping_key, wrapped, kept FROM wrapped_twin_key").fetchone()
        (outer,) = connection.execute("SELECT number, kek_version, wrapped FROM wrapping_key").fetchall()
    connection.close()
    generation, number, wrapped, kept = row
    assert outer[:2] == (number, 2)
    place = hierarchy.wrap_context(TENANT, twin, generation)
    between = house.provider.unwrap(KekId(TENANT, 2), outer[2], hierarchy.wrapping_context(TENANT, number))
    key = open_sealed(between, wrapped, hierarchy.inner_contexts(TENANT, number)(twin, generation))
    sealing_key = derive(key, b"twinward/kept-keys", b"")
    plain = json.loads(unpad(open_sealed(sealing_key, kept, length_prefixed(b"twinward/kept-keys", place))))
    assert (generation, generation_of(kept)) == (2, 2)
    assert plain["audit"] == before.audit_key().hex()
    assert plain["gone"] == [before.category_tag(one).hex() for one in (Category.FEATURES, Category.LABS)]
    assert plain["categories"].keys() == {one.value for one in Category} - {"labs", "features"}
    assert plain["categories"]["vitals"] == {
        "key": before.category_key(Category.VITALS).hex(),
        "tag": before.category_tag(Category.VITALS).hex(),
    }
    assert house.keyring.keys(twin).category_key(Category.LABS) == hierarchy.category_key(key, "labs", 2)


def test_kept_keys_do_not_show(house: ErasureHouse) -> None:
    twin = house.twin()
    keys = house.keyring.keys(twin)
    kept = keys.without([Category.LABS])
    labs = keys.category_key(Category.VITALS)
    assert kept.categories[Category.VITALS].key == labs
    for holder in (kept, kept.categories[Category.VITALS], keys):
        assert labs.hex() not in repr(holder)
        assert repr(labs)[2:-1] not in repr(holder)
        with pytest.raises(TypeError):
            pickle.dumps(holder)
