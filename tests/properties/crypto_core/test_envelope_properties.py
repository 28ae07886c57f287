from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.vectors.te1 import reference
from twinward_crypto.envelope import OVERHEAD_BYTES, SealingKey, generation_of, open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.padding import FLOOR_BYTES, bucket, pad, unpad
from twinward_crypto.record_context import RecordContext

keys = st.binary(min_size=32, max_size=32)
nonces = st.binary(min_size=24, max_size=24)
generations = st.integers(0, 2**32 - 1)
aads = st.binary(max_size=200)
plaintexts = st.binary(max_size=600)


@given(keys, plaintexts, aads, nonces, generations)
def test_it_equals_the_reference_and_opens(
    key: bytes, plaintext: bytes, aad: bytes, nonce: bytes, generation: int
) -> None:
    sealed = seal(key, plaintext, aad, nonce=nonce, generation=generation)
    assert sealed == reference.seal(key, plaintext, aad, nonce, generation)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert open_sealed(key, sealed, aad) == plaintext
    assert generation_of(sealed) == generation


@given(keys, plaintexts, aads, generations, st.data())
def test_a_key_absorbed_once_makes_and_opens_the_same_envelopes(
    key: bytes, plaintext: bytes, aad: bytes, generation: int, data: st.DataObject
) -> None:
    absorbed = SealingKey(key)
    sealed = absorbed.seal(plaintext, aad, generation=generation)
    assert sealed == reference.seal(key, plaintext, aad, sealed[8:32], generation)
    assert open_sealed(key, sealed, aad) == absorbed.open(sealed, aad) == plaintext
    assert absorbed.seal(plaintext, aad) != absorbed.seal(plaintext, aad)
    place = data.draw(st.integers(0, len(sealed) - 1))
    for altered in (sealed[:place], sealed[:place] + bytes((sealed[place] ^ 1,)) + sealed[place + 1 :]):
        with pytest.raises(OpenError):
            absorbed.open(altered, aad)
    with pytest.raises(OpenError):
        absorbed.open(sealed, aad + b"\x00")


@given(keys, plaintexts, aads, st.data())
def test_any_flipped_bit_closes_it(key: bytes, plaintext: bytes, aad: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(key, plaintext, aad, generation=1))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(OpenError):
        open_sealed(key, bytes(sealed), aad)


@given(keys, plaintexts, aads, st.data())
def test_any_truncation_or_extension_closes_it(key: bytes, plaintext: bytes, aad: bytes, data: st.DataObject) -> None:
    sealed = seal(key, plaintext, aad)
    cut = data.draw(st.integers(0, len(sealed) - 1))
    for altered in (sealed[:cut], sealed[cut + 1 :], sealed + data.draw(st.binary(min_size=1, max_size=40))):
        with pytest.raises(OpenError):
            open_sealed(key, altered, aad)


@given(keys, keys, plaintexts, aads, aads)
def test_another_key_or_context_does_not_open(
    key: bytes, other_key: bytes, plaintext: bytes, aad: bytes, other_aad: bytes
) -> None:
    sealed = seal(key, plaintext, aad)
    assume(key != other_key)
    assume(aad != other_aad)
    for wrong_key, wrong_aad in ((other_key, aad), (key, other_aad), (other_key, other_aad)):
        with pytest.raises(OpenError):
            open_sealed(wrong_key, sealed, wrong_aad)


@given(st.binary(max_size=300))
def test_foreign_bytes_do_not_open(foreign: bytes) -> None:
    with pytest.raises(OpenError):
        open_sealed(bytes(32), foreign, b"")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
contexts = st.builds(
    lambda version, previous, *texts: RecordContext(
        tenant=texts[0],
        twin=texts[1],
        record_type=texts[2],
        record_id=texts[3],
        version=version,
        previous_hash=b"" if version == 1 else previous,
        category=texts[4],
        schema=texts[5],
    ),
    st.integers(1, 2**64 - 1) | st.integers(1, 3),
    st.binary(min_size=32, max_size=32),
    *[texts] * 6,
)


@given(contexts, contexts)
def test_contexts_are_equal_only_when_their_bytes_are(one: RecordContext, other: RecordContext) -> None:
    assert (one == other) == (one.encode() == other.encode())


@given(contexts, st.sampled_from([field.name for field in fields(RecordContext)]), st.data())
def test_every_part_counts(context: RecordContext, name: str, data: st.DataObject) -> None:
    if name == "version":
        assume(context.version > 1)
        changed = replace(context, version=data.draw(st.integers(2, 2**64 - 1)))
    elif name == "previous_hash":
        assume(context.version > 1)
        changed = replace(context, previous_hash=data.draw(st.binary(min_size=32, max_size=32)))
    else:
        changed = replace(context, **{name: data.draw(texts)})
    assert (changed.encode() == context.encode()) == (changed == context)


@given(contexts, texts)
def test_no_boundary_between_parts_can_be_moved(context: RecordContext, piece: str) -> None:
    assume(piece)
    left = RecordContext(
        context.tenant + piece,
        context.twin,
        context.record_type,
        context.record_id,
        context.version,
        context.previous_hash,
        context.category,
        context.schema,
    )
    right = RecordContext(
        context.tenant,
        piece + context.twin,
        context.record_type,
        context.record_id,
        context.version,
        context.previous_hash,
        context.category,
        context.schema,
    )
    assert left.encode() != right.encode()


@given(st.binary(max_size=3000), st.integers(0, 40))
def test_padding_comes_off_again(plaintext: bytes, zeros: int) -> None:
    plaintext += bytes(zeros)
    padded = pad(plaintext)
    assert len(padded) == bucket(len(plaintext) + 1)
    assert unpad(padded) == plaintext


@given(st.integers(1, 2**26))
def test_buckets_are_few_and_cheap(length: int) -> None:
    size = bucket(length)
    assert size >= length
    assert bucket(size) == size
    assert size == FLOOR_BYTES or size <= length * 1.12
    # Padmé: log2 of the number of buckets below 2**26 stays under 9.
    assert len({bucket(2**26 - step) for step in range(0, 2**10, 97)}) <= 2


@given(st.binary(max_size=600))
def test_what_was_not_padded_is_refused(data: bytes) -> None:
    try:
        plaintext = unpad(data)
    except OpenError:
        return
    assert pad(plaintext) == data
