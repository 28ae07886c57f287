from __future__ import annotations

import base64
import hashlib
import itertools
import os
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward_crypto.errors import KeyProviderError, MalformedKey, ParameterError
from twinward_crypto.secret_sharing import SHARE_BYTES, Share, join_shares, split_secret

SECRET = bytes(range(32))
MODULUS = (1 << 128) | 0b10000111  # x^128 + x^7 + x^2 + x + 1


def times(one: int, other: int) -> int:
    """The slow way: long multiplication, then long division."""
    product = 0
    for bit in range(128):
        if other >> bit & 1:
            product ^= one << bit
    for bit in range(255, 127, -1):
        if product >> bit & 1:
            product ^= MODULUS << (bit - 128)
    return product


def inverse(element: int) -> int:
    """a^(2^128 - 2), Fermat's way."""
    power, result = element, 1
    for _ in range(127):
        power = times(power, power)
        result = times(result, power)
    return result


def interpolated_at_zero(points: list[tuple[int, int]]) -> int:
    """Lagrange's formula as the textbook writes it."""
    total = 0
    for x_j, y_j in points:
        term = y_j
        for x_m, _ in points:
            if x_m != x_j:
                term = times(term, times(x_m, inverse(x_j ^ x_m)))
        total ^= term
    return total


@pytest.mark.parametrize(("threshold", "shares"), [(2, 2), (2, 3), (3, 5)])
def test_every_choice_of_k_agrees_with_the_textbook(threshold: int, shares: int) -> None:
    made = split_secret(SECRET, shares=shares, threshold=threshold)
    for chosen in itertools.combinations(made, threshold):
        halves = (
            [(share.index, int.from_bytes(share.value[start : start + 16], "big")) for share in chosen]
            for start in (0, 16)
        )
        assert b"".join(interpolated_at_zero(points).to_bytes(16, "big") for points in halves) == SECRET
        assert join_shares(chosen) == SECRET


def test_shares_made_the_slow_way_join() -> None:
    slope = 0x0123456789ABCDEF_FEDCBA9876543210
    first, second = int.from_bytes(SECRET[:16], "big"), int.from_bytes(SECRET[16:], "big")
    made = [
        Share(2, x, bytes(8), b"".join((half ^ times(slope, x)).to_bytes(16, "big") for half in (first, second)))
        for x in (1, 7, 32)
    ]
    for chosen in itertools.combinations(made, 2):
        assert join_shares(chosen) == SECRET


def test_one_share_fewer_gives_something_else() -> None:
    made = split_secret(SECRET, shares=5, threshold=3)
    for chosen in itertools.combinations(made, 2):
        with pytest.raises(MalformedKey, match="3 different shares are needed, 2 were given"):
            join_shares(chosen)
        lying = [Share(2, share.index, share.split, share.value) for share in chosen]
        assert join_shares(lying) != SECRET


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.data())
def test_any_k_of_n_in_any_order_give_the_secret_back(secret: bytes, data: st.DataObject) -> None:
    shares = data.draw(st.integers(2, 8))
    threshold = data.draw(st.integers(2, shares))
    made = split_secret(secret, shares=shares, threshold=threshold)
    chosen = data.draw(st.permutations(made))[: data.draw(st.integers(threshold, shares))]
    typed = [Share.decode(share.encode()) for share in chosen]
    assert join_shares([*typed, typed[0]]) == secret


def test_two_splits_of_a_secret_do_not_mix() -> None:
    one = split_secret(SECRET, shares=3, threshold=2)
    other = split_secret(SECRET, shares=3, threshold=2)
    assert {share.value for share in one}.isdisjoint(share.value for share in other)
    with pytest.raises(MalformedKey, match="several"):
        join_shares([one[0], other[1]])
    with pytest.raises(MalformedKey, match="none"):
        join_shares([])


def test_contradicting_shares_are_named() -> None:
    one, *_ = split_secret(SECRET, shares=3, threshold=2)
    altered = Share(2, one.index, one.split, bytes(32))
    with pytest.raises(MalformedKey, match="number 1"):
        join_shares([one, altered])


def test_an_altered_share_gives_another_secret() -> None:
    one, two, _ = split_secret(SECRET, shares=3, threshold=2)
    altered = Share(2, two.index, two.split, two.value[:-1] + bytes((two.value[-1] ^ 1,)))
    assert join_shares([one, altered]) != SECRET


def test_a_share_has_the_specified_bytes() -> None:
    share = Share(3, 5, b"\x01" * 8, bytes(range(32)))
    encoded = share.encode()
    body = b"TWS" + bytes((1, 3, 5)) + b"\x01" * 8 + bytes(range(32))
    raw = body + hashlib.sha256(body).digest()[:4]
    assert encoded.replace("-", "") == base64.b32encode(raw).decode()
    assert encoded.startswith("KRLVG-AIDAU-AQCAI-BAEAQ-CAIAA")
    assert [len(group) for group in encoded.split("-")] == [5] * 16
    assert Share.decode(encoded) == share
    assert Share.decode(encoded.lower().replace("-", " \n")) == share
    assert SHARE_BYTES == 50
    assert str(bytes(range(32))) not in repr(share)


def test_every_slip_of_the_pen_is_noticed() -> None:
    encoded = Share(3, 5, b"\x01" * 8, bytes(range(32))).encode()
    for index, character in enumerate(encoded):
        if character != "-":
            slip = "A" if character != "A" else "B"
            with pytest.raises(MalformedKey):
                Share.decode(encoded[:index] + slip + encoded[index + 1 :])
    for wrong in ("", "-", encoded[:-1], encoded + "A", encoded * 4, "1" * 80, "é" * 80, "A" * 80, "A" * 10_000):
        with pytest.raises(MalformedKey):
            Share.decode(wrong)


@pytest.mark.parametrize("share", [Share(1, 1, bytes(8), bytes(32)), Share(33, 1, bytes(8), bytes(32))])
def test_a_threshold_out_of_range_is_no_share(share: Share) -> None:
    with pytest.raises(MalformedKey):
        Share.decode(share.encode())
    with pytest.raises(MalformedKey):
        Share.decode(Share(2, 0, bytes(8), bytes(32)).encode())


@pytest.mark.parametrize(("threshold", "shares"), [(1, 3), (0, 3), (4, 3), (2, 1), (2, 33), (-1, -1)])
def test_parameters_that_protect_nothing_are_refused(threshold: int, shares: int) -> None:
    with pytest.raises(ParameterError, match="threshold"):
        split_secret(SECRET, shares=shares, threshold=threshold)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_only_32_bytes_are_split(length: int) -> None:
    with pytest.raises(MalformedKey):
        split_secret(os.urandom(length), shares=3, threshold=2)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Crypto.Protocol.SecretSharing", None)
    with pytest.raises(KeyProviderError, match=r"twinward\[shamir\]"):
        split_secret(SECRET, shares=3, threshold=2)
