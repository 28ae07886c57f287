"""Hostile bundles: every field altered, every length wrong, coefficients out of range. SEAL sees none of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic import parts, wire
from twinward_crypto.homomorphic.parameters import MAX_BUNDLE_BYTES, plan
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.residues import pack, unpack
from twinward_crypto.homomorphic.wire import Kind, decode

PLAN = plan(2, 16)
BINDING = bytes(range(32))
BUNDLE = QueryKey.generate(PLAN).encrypt_query([1, 2], binding=BINDING).bundle
DATA = BUNDLE.encode()
HEAD = 80


def parse(data: bytes) -> wire.Bundle:
    return decode(data, kind=Kind.QUERY, plan=PLAN, binding=BINDING)


def test_a_bundle_comes_back_as_it_was() -> None:
    assert parse(DATA) == BUNDLE
    assert parse(DATA).encode() == DATA


@pytest.mark.parametrize(
    ("offset", "what"),
    [
        (0, "not a homomorphic bundle"),
        (4, "version"),
        (5, "is expected here"),
        (6, "flags"),
        (8, "other parameters"),
        (12, "other parameters"),
        (39, "other parameters"),
        (40, "another schema or epoch"),
        (71, "another schema or epoch"),
        (72, "rows"),
        (76, "parts"),
    ],
)
def test_each_field_is_checked(offset: int, what: str) -> None:
    altered = bytearray(DATA)
    altered[offset] ^= 0x40
    with pytest.raises(MalformedBundle, match=what):
        parse(bytes(altered))


@given(cut=st.integers(0, len(DATA) - 1))
@settings(max_examples=60)
def test_nothing_truncated_parses(cut: int) -> None:
    with pytest.raises(MalformedBundle):
        parse(DATA[:cut])


def test_nothing_may_follow() -> None:
    with pytest.raises(MalformedBundle, match=f"{len(DATA) + 1} bytes, {len(DATA)} expected"):
        parse(DATA + b"\0")


@given(junk=st.binary(max_size=300))
def test_junk_is_refused_by_name(junk: bytes) -> None:
    for data in (junk, DATA[:HEAD] + junk):
        with pytest.raises(MalformedBundle):
            parse(data)


def test_an_oversized_bundle_is_refused_by_its_length_alone() -> None:
    with pytest.raises(MalformedBundle, match="bytes"):
        parse(DATA[:HEAD] + bytes(MAX_BUNDLE_BYTES))


def test_version_1_is_told_to_update() -> None:
    with pytest.raises(MalformedBundle, match="update your client"):
        parse(DATA[:4] + b"\x01" + DATA[5:])
    with pytest.raises(MalformedBundle, match="the other side's is newer"):
        parse(DATA[:4] + b"\x03" + DATA[5:])


@pytest.mark.parametrize("place", [0, 1, 7, 8, PLAN.profile.degree - 1])
def test_a_coefficient_must_be_below_its_prime(place: int) -> None:
    form = parts.forms(Kind.QUERY, PLAN)[0]
    (prime,) = form.moduli
    residues = unpack(BUNDLE.parts[0][:-64], form.moduli, form.degree, 1)
    for value in (prime, (1 << prime.bit_length()) - 1):
        residues[0, 0, place] = value
        part = pack(residues, form.moduli) + BUNDLE.parts[0][-64:]
        with pytest.raises(MalformedBundle, match="not below its prime"):
            parse(DATA[:HEAD] + part + BUNDLE.parts[1])
    residues[0, 0, place] = prime - 1
    parse(DATA[:HEAD] + pack(residues, form.moduli) + BUNDLE.parts[0][-64:] + BUNDLE.parts[1])


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.QUERY])
def test_a_frame_of_another_kind_is_refused(kind: Kind) -> None:
    with pytest.raises(MalformedBundle):
        decode(DATA, kind=kind, plan=PLAN, binding=BINDING)
    with pytest.raises(MalformedBundle):
        decode(DATA[:5] + bytes([kind]) + DATA[6:], kind=kind, plan=PLAN, binding=BINDING)
