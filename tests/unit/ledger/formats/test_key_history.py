"""Which key of a log counts for which size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward_crypto.errors import InvalidSignature, MalformedKey
from twinward_ledger.errors import MalformedCheckpoint
from twinward_ledger.formats.checkpoint import Checkpoint, sign_checkpoint
from twinward_ledger.formats.key_history import EarlierKey, KeyHistory
from twinward_ledger.formats.note import NoteSigner

NAME = "mercy.example/access"
SIGNERS = [NoteSigner(NAME, bytes([number]) * 32) for number in range(1, 5)]
KEYS = [one.key for one in SIGNERS]
HISTORY = KeyHistory(KEYS[2], (EarlierKey(KEYS[0], 10), EarlierKey(KEYS[1], 20)))


def note(size: int, *numbers: int) -> bytes:
    signed = sign_checkpoint(Checkpoint(NAME, size, b"\1" * 32), SIGNERS[numbers[0]])
    return signed.with_signatures(*(SIGNERS[one].sign(signed.text) for one in numbers)).encode()


@pytest.mark.parametrize(
    ("size", "numbers", "counts"),
    [
        (1, (0,), True),
        (10, (0,), True),
        (10, (0, 1), True),
        (11, (0,), False),  # stolen
        (9, (1,), False),
        (9, (0, 1), False),  # dated back
        (10, (1,), True),
        (20, (1, 2), True),
        (21, (1,), False),
        (21, (0, 1), False),
        (21, (0, 2), True),
        (2**40, (2,), True),
        (19, (2,), False),
        (30, (3,), False),
    ],
)
def test_a_key_counts_between_the_change_to_it_and_the_change_from_it(
    size: int, numbers: tuple[int, ...], counts: bool
) -> None:
    if counts:
        assert HISTORY.open(note(size, *numbers))[0].size == size
    else:
        with pytest.raises(InvalidSignature):
            HISTORY.open(note(size, *numbers))


def test_a_signature_of_an_older_key_that_does_not_fit_spoils_the_note() -> None:
    forged = SIGNERS[0].sign("something else\n")
    with pytest.raises(InvalidSignature):
        HISTORY.open(sign_checkpoint(Checkpoint(NAME, 30, b"\1" * 32), SIGNERS[2]).with_signatures(forged).encode())


def test_one_key_is_a_history() -> None:
    alone = KeyHistory(KEYS[0])
    assert alone.open(note(7, 0))[0].size == 7
    with pytest.raises(InvalidSignature):
        alone.open(note(7, 1))
    with pytest.raises(MalformedCheckpoint):
        alone.open(b"nothing")


def test_an_export_is_sealed_by_the_key_of_its_checkpoint_or_a_later_one() -> None:
    for size, numbers, sealers in ((5, (0,), KEYS[:3]), (10, (0, 1), KEYS[1:3]), (30, (2,), KEYS[2:3])):
        assert HISTORY.sealed_by(HISTORY.open(note(size, *numbers))[1]) == tuple(sealers)


def test_keys_that_cannot_have_followed_one_another() -> None:
    other = NoteSigner("northgate.example/access", bytes(32)).key
    for earlier in (
        (EarlierKey(KEYS[2], 10),),
        (EarlierKey(KEYS[0], 0),),
        (EarlierKey(KEYS[0], 10), EarlierKey(KEYS[1], 10)),
        (EarlierKey(KEYS[0], 10), EarlierKey(KEYS[0], 20)),
        (EarlierKey(other, 10),),
        (EarlierKey(SIGNERS[0].cosigner_key, 10),),
    ):
        with pytest.raises(MalformedKey):
            KeyHistory(KEYS[2], earlier)


@given(st.lists(st.integers(1, 50), max_size=3), st.integers(1, 200), st.integers(0, 3))
def test_whatever_the_changes_one_key_at_most_two_at_a_change_sign_a_size(
    steps: list[int], size: int, signer: int
) -> None:
    history, at = KeyHistory(KEYS[0]), 0
    bounds = [0]
    for number, step in enumerate(steps, 1):
        at += step
        history = history.replaced_by(KEYS[number], at)
        bounds.append(at)
    bounds.append(2**62)
    counts = signer <= len(steps) and bounds[signer] <= size <= bounds[signer + 1]
    try:
        history.open(note(size, signer))
        assert counts
    except InvalidSignature:
        assert not counts
