"""A twin's unwrapped keys: what is derived, what outlives a shredding, and how long they stay in memory."""

from __future__ import annotations

import pickle

import pytest

from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Category, TwinId
from twinward.vault.errors import CategoryShredded, RecordDamaged
from twinward.vault.keys import twin_keys
from twinward.vault.keys.twin_keys import CACHE_TTL_MS, CACHE_TWINS, CHECK_EVERY_MS, KeyCache, RetainedKeys, TwinKeys
from twinward_crypto.envelope import seal
from twinward_crypto.errors import OpenError
from twinward_crypto.padding import pad

TWIN = TwinId("twin")
OLD, NEW = bytes(range(32)), bytes(range(32, 64))
PLACE = b"where the key stands"


def test_a_tag_names_its_category_and_another_twins_is_damage() -> None:
    keys, others = TwinKeys(TWIN, 1, OLD), TwinKeys(TwinId("other"), 1, NEW)
    for category in Category:
        assert keys.category_of(keys.category_tag(category)) is category
    with pytest.raises(RecordDamaged):
        keys.category_of(others.category_tag(Category.LABS))


def test_a_type_is_read_off_its_own_twins_tag_only() -> None:
    keys = TwinKeys(TWIN, 1, OLD)
    assert keys.type_of(keys.type_tag("Observation")) == "Observation"
    with pytest.raises(OpenError):
        keys.type_of(TwinKeys(TwinId("other"), 1, NEW).type_tag("Observation"))


def test_shredding_a_category_leaves_every_other_key_as_it_was() -> None:
    before = TwinKeys(TWIN, 1, OLD)
    after = TwinKeys(TWIN, 2, NEW, before.without({Category.PSYCHIATRY}))
    for category in set(Category) - {Category.PSYCHIATRY}:
        assert after.category_key(category) == before.category_key(category)
        assert after.category_tag(category) == before.category_tag(category)
    assert after.audit_key() == before.audit_key()
    assert after.type_of(before.type_tag("Observation")) == "Observation"


def test_a_shredded_category_has_another_key_and_its_old_tag_is_known_as_gone() -> None:
    before = TwinKeys(TWIN, 1, OLD)
    after = TwinKeys(TWIN, 2, NEW, before.without({Category.PSYCHIATRY}))
    assert after.category_key(Category.PSYCHIATRY) != before.category_key(Category.PSYCHIATRY)
    with pytest.raises(CategoryShredded):
        after.category_of(before.category_tag(Category.PSYCHIATRY))
    twice = TwinKeys(TWIN, 3, OLD[::-1], after.without({Category.PSYCHIATRY, Category.LABS}))
    for gone in (
        before.category_tag(Category.PSYCHIATRY),
        after.category_tag(Category.PSYCHIATRY),
        before.category_tag(Category.LABS),
    ):
        with pytest.raises(CategoryShredded):
            twice.category_of(gone)


def test_retained_keys_open_under_their_twins_key_in_their_place_only() -> None:
    retained = TwinKeys(TWIN, 1, OLD).without({Category.LABS})
    sealed = retained.seal(NEW, PLACE, 2)
    assert RetainedKeys.open(NEW, sealed, PLACE) == retained
    for key, place in ((OLD, PLACE), (NEW, b"elsewhere")):
        with pytest.raises(OpenError):
            RetainedKeys.open(key, sealed, place)


def test_keys_are_neither_shown_nor_pickled() -> None:
    keys = TwinKeys(TWIN, 1, OLD)
    retained = keys.without(())
    assert OLD.hex() not in repr(keys) + repr(retained)
    assert keys.audit_key().hex() not in repr(retained)
    for one in (keys, retained, retained.categories[Category.LABS]):
        with pytest.raises(TypeError):
            pickle.dumps(one)


def cache_at(clock: FixedClock, newest: list[int]) -> KeyCache:
    return KeyCache(clock, lambda: newest[0], newest[0])


def test_keys_leave_the_cache_after_a_while() -> None:
    clock, keys = FixedClock(1_000_000), TwinKeys(TWIN, 1, OLD)
    cache = cache_at(clock, [0])
    cache.put(TWIN, keys, cache.emptied)
    clock.advance(CACHE_TTL_MS - 1)
    assert cache.get(TWIN) is keys
    clock.advance(1)
    assert cache.get(TWIN) is None


def test_a_shredding_elsewhere_empties_the_cache_at_the_next_look() -> None:
    clock, newest = FixedClock(1_000_000), [7]
    cache = cache_at(clock, newest)
    assert cache.get(TWIN) is None
    cache.put(TWIN, TwinKeys(TWIN, 1, OLD), cache.emptied)
    newest[0] = 8
    assert cache.get(TWIN) is not None
    clock.advance(CHECK_EVERY_MS)
    assert cache.get(TWIN) is None


def test_what_was_read_before_a_shredding_is_not_kept_after_it() -> None:
    cache = cache_at(FixedClock(1_000_000), [0])
    emptied = cache.emptied
    cache.empty()
    cache.put(TWIN, TwinKeys(TWIN, 1, OLD), emptied)
    assert cache.get(TWIN) is None


def test_keys_of_a_twin_about_to_be_made_are_for_its_events_alone_until_it_is_made() -> None:
    clock, newest, keys = FixedClock(1_000_000), [0], TwinKeys(TWIN, 1, OLD)
    cache = cache_at(clock, newest)
    cache.put_reserved([keys], cache.emptied)
    assert (cache.get(TWIN), cache.get(TWIN, created=False)) == (None, keys)
    cache.mark_created([TWIN])
    assert cache.get(TWIN) is keys
    emptied = cache.emptied
    newest[0] = 1
    clock.advance(CHECK_EVERY_MS)
    assert cache.get(TWIN, created=False) is None  # shredded elsewhere, reserved or not
    cache.put_reserved([keys], emptied)
    assert cache.get(TWIN, created=False) is None  # and not kept again by who began before
    cache.put_reserved([keys], cache.emptied)
    cache.put(TWIN, keys, cache.emptied)  # another process made it
    assert cache.get(TWIN) is keys


def test_the_cache_holds_so_many_twins_and_forgets_the_oldest() -> None:
    cache, keys = cache_at(FixedClock(1_000_000), [0]), TwinKeys(TWIN, 1, OLD)
    for number in range(CACHE_TWINS + 1):
        cache.put(TwinId(f"twin-{number}"), keys, cache.emptied)
    assert cache.get(TwinId("twin-0")) is None
    assert cache.get(TwinId("twin-1")) is keys


@pytest.mark.parametrize(
    "plain",
    [
        b'{"audit": "00", "names": "00", "categories": {"of-a-newer-release": {"key": "00", "tag": "00"}}, "gone": []}',
        b'{"audit": "no hex", "names": "00", "categories": {}, "gone": []}',
        b'{"audit": "00", "names": "00", "categories": {}}',
        b'{"audit": 7, "names": "00", "categories": {}, "gone": []}',
    ],
    ids=["a category", "a value", "a member", "a type"],
)
def test_retained_keys_of_another_form_do_not_open(plain: bytes) -> None:
    """Authentic, and of a version that keeps them otherwise."""
    sealed = seal(twin_keys._key(NEW), pad(plain), twin_keys._aad(PLACE))
    with pytest.raises(OpenError):
        RetainedKeys.open(NEW, sealed, PLACE)
