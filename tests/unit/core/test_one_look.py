"""One look at a store for what is asked of it together: whose it is, and when it ends."""

from __future__ import annotations

import threading

from twinward.core.one_look import has_looked, look_anew, looked, one_look

STORE, OTHER = object(), object()


def test_outside_of_a_look_nothing_was_looked_at() -> None:
    looked(STORE)
    assert not has_looked(STORE)


def test_within_a_look_each_store_is_looked_at_for_itself_and_no_longer_than_the_look_lasts() -> None:
    with one_look():
        assert not has_looked(STORE)
        looked(STORE)
        assert (has_looked(STORE), has_looked(OTHER)) == (True, False)
    assert not has_looked(STORE)


def test_a_wait_ends_it() -> None:
    with one_look():
        looked(STORE)
        look_anew()
        assert not has_looked(STORE)


def test_a_look_within_a_look_is_another_one() -> None:
    with one_look():
        looked(STORE)
        with one_look():
            assert not has_looked(STORE)
            looked(OTHER)
        assert (has_looked(STORE), has_looked(OTHER)) == (True, False)


def test_a_look_is_one_threads() -> None:
    seen: list[bool] = []
    with one_look():
        looked(STORE)
        thread = threading.Thread(target=lambda: seen.append(has_looked(STORE)))
        thread.start()
        thread.join()
    assert seen == [False]
