"""Texts searched all together find what each would say of itself, wherever pieces begin and end."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.audit.event_index import strings
from twinward.audit.event_index.strings import Strings, folded

TEXTS = st.lists(st.text(st.sampled_from("abAB/ \t\nßİé\U0001f600"), max_size=12), max_size=40)


@given(
    texts=TEXTS,
    part=st.text(st.sampled_from("abAB/ \nßİé\U0001f600"), min_size=1, max_size=4),
    piece=st.integers(1, 64),
)
def test_each_text_that_holds_a_part_is_found_and_no_other(texts: list[str], part: str, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strings, "PIECE_BYTES", piece)
        pool = Strings()
        codes = [pool.code(text) for text in texts]
        found = pool.holding(part)
        assert len(found) == len(pool) == len(set(texts))
        for code, text in zip(codes, texts, strict=True):
            assert found[code] == (folded(part) in folded(text))
            assert pool.texts[code] == text


def test_whoever_looks_while_texts_are_added_finds_all_that_were_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strings, "PIECE_BYTES", 200)
    pool, done = Strings(), threading.Event()

    def add() -> None:
        for number in range(20_000):
            pool.code(f"text {number} {'odd' if number % 2 else 'even'}")
        done.set()

    adding = threading.Thread(target=add)
    adding.start()
    while not done.is_set():
        there = len(pool) - 1  # the newest may be half-way in
        found = pool.holding("odd")
        assert len(found) >= there
        assert found[:there].tolist() == [bool(number % 2) for number in range(there)]
    adding.join()
    assert pool.holding("odd").sum() == 10_000
