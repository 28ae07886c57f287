from __future__ import annotations

import hmac
import struct
from hashlib import sha512

import pytest

from twinward_crypto import hierarchy
from twinward_crypto.errors import MalformedKey, OpenError, ParameterError
from twinward_crypto.kdf import derive, length_prefixed
from twinward_crypto.name_tag import MAX_NAME_BYTES, NameTagger

TWIN_KEY = bytes(range(32))


def by_hand(label: bytes, context: bytes, length: int) -> bytes:
    message = struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", length * 8)
    return hmac.new(TWIN_KEY, message, sha512).digest()[:length]


def test_derivations_are_those_of_the_specification() -> None:
    labs = struct.pack(">I", 4) + b"labs" + struct.pack(">II", 4, 3)
    assert hierarchy.category_key(TWIN_KEY, "labs", 3) == by_hand(b"twinward/category-key", labs, 32)
    assert hierarchy.audit_key(TWIN_KEY) == by_hand(b"twinward/audit-key", b"", 32)
    assert hierarchy.tag_key(TWIN_KEY, "category") == by_hand(b"twinward/tag-key", b"category", 32)
    assert hierarchy.name_tag_key(TWIN_KEY) == by_hand(b"twinward/name-tag-key", b"", 64)


def test_every_derived_key_is_its_own() -> None:
    other = bytes(32)
    derived = [
        hierarchy.category_key(key, category, generation)
        for key in (TWIN_KEY, other)
        for category in ("labs", "vitals", "lab")
        for generation in (1, 2, 2**32 - 1)
    ]
    derived += [hierarchy.audit_key(TWIN_KEY), hierarchy.tag_key(TWIN_KEY, "category"), hierarchy.tag_key(other, "x")]
    assert len(set(derived)) == len(derived)
    assert {len(key) for key in derived} == {32}


def test_outputs_of_two_lengths_have_nothing_in_common() -> None:
    assert derive(TWIN_KEY, b"label", b"", length=64)[:32] != derive(TWIN_KEY, b"label", b"", length=32)


@pytest.mark.parametrize("generation", [0, -1, 2**32])
def test_generations_out_of_range(generation: int) -> None:
    for make in (
        lambda: hierarchy.category_key(TWIN_KEY, "labs", generation),
        lambda: hierarchy.wrap_context("st-anna", "twin", generation),
    ):
        with pytest.raises(ParameterError, match="generation"):
            make()


def test_malformed_derivations_are_refused() -> None:
    with pytest.raises(MalformedKey):
        derive(bytes(31), b"label", b"")
    for label in (b"", b"la\0bel"):
        with pytest.raises(ParameterError, match="label"):
            derive(TWIN_KEY, label, b"")
    for length in (0, 65):
        with pytest.raises(ParameterError, match="length"):
            derive(TWIN_KEY, b"label", b"", length=length)


def test_twin_keys_are_random_and_the_source_is_given() -> None:
    assert hierarchy.new_twin_key() != hierarchy.new_twin_key()
    assert hierarchy.new_twin_key(lambda length: b"\x07" * length) == b"\x07" * 32


def test_wrap_contexts_differ_in_every_part() -> None:
    contexts = {
        hierarchy.wrap_context(*parts)
        for parts in (("a", "b", 1), ("ab", "", 1), ("", "ab", 1), ("a", "b", 2), ("b", "a", 1))
    }
    assert len(contexts) == 5
    assert length_prefixed(b"twinward/twin-key") in contexts.pop()


def test_name_tags_read_back_and_hide_length() -> None:
    tagger = NameTagger(hierarchy.name_tag_key(TWIN_KEY))
    names = ["Observation", "É", "x" * MAX_NAME_BYTES, "a\x80", "\x00", "a\x00"]
    tags = [tagger.tag(name) for name in names]
    assert [tagger.name(tag) for tag in tags] == names
    assert {len(tag) for tag in tags} == {64}
    assert len(set(tags)) == len(names)
    assert tagger.tag("Observation") == tags[0]


def test_name_tags_of_another_key_or_altered_do_not_read() -> None:
    tagger, other = NameTagger(bytes(64)), NameTagger(bytes(63) + b"\x01")
    tag = tagger.tag("Observation")
    for reader, altered in ((other, tag), (tagger, tag[:-1]), (tagger, bytes(64)), (tagger, tag[:-1] + b"\x00")):
        with pytest.raises(OpenError):
            reader.name(altered)


@pytest.mark.parametrize("name", ["", "x" * (MAX_NAME_BYTES + 1), "\ud800"])
def test_names_that_cannot_be_tagged(name: str) -> None:
    with pytest.raises(ParameterError, match="name"):
        NameTagger(bytes(64)).tag(name)
    with pytest.raises(MalformedKey):
        NameTagger(bytes(32))
