from __future__ import annotations

from pathlib import Path

import pytest

from twinward_crypto import disclosure
from twinward_crypto.disclosure import RecipientSuite, generate_recipient_key, open_from, public_part
from twinward_crypto.errors import KeyProviderError, MalformedKey, OpenError
from twinward_crypto.kdf import derive, length_prefixed
from twinward_crypto.providers import _hybrid_wrap
from twinward_crypto.providers.local import LocalKeyProvider
from twinward_crypto.testing.provider_conformance import ANNA, CONTEXT, FIRST, SECOND, TWIN_KEY

KEK = bytes(range(100, 132))


@pytest.mark.parametrize("suite", list(RecipientSuite))
def test_the_public_part_is_the_pairs(suite: RecipientSuite) -> None:
    pair = generate_recipient_key(suite)
    assert public_part(pair.private) == pair.public
    with pytest.raises(MalformedKey):
        public_part(pair.private[:-1])


def test_a_hybrid_wrap_is_the_documented_disclosure() -> None:
    wrapped = _hybrid_wrap.wrap(KEK, TWIN_KEY, b"aad")
    assert len(wrapped) == 1171
    assert wrapped[:3] == b"\x01\x04\x02"
    seed = derive(KEK, b"twinward/hybrid-kek/ml-kem-768", b"", length=64)
    private = b"\x02" + seed + derive(KEK, b"twinward/hybrid-kek/x25519", b"")
    assert open_from(private, wrapped[2:], info=b"twinward/hybrid-wrap", aad=b"aad") == TWIN_KEY
    for aad, altered in ((b"ada", wrapped), (b"aad", wrapped[:-1]), (b"aad", b"\x01\x01" + wrapped[2:])):
        with pytest.raises(OpenError):
            _hybrid_wrap.unwrap(KEK, altered, aad)


def test_both_halves_are_needed() -> None:
    """What an attacker who broke one of the two problems has does not open it."""
    wrapped = _hybrid_wrap.wrap(KEK, TWIN_KEY, b"")
    seed = derive(KEK, _hybrid_wrap.MLKEM_SEED, b"", length=64)
    scalar = derive(KEK, _hybrid_wrap.X25519_SCALAR, b"")
    for private in (b"\x02" + seed + bytes(range(32)), b"\x02" + bytes(range(64)) + scalar):
        with pytest.raises(OpenError):
            disclosure.open_from(private, wrapped[2:], info=_hybrid_wrap.INFO)


def test_a_rotation_moves_keys_to_the_hybrid_form_and_back(tmp_path: Path) -> None:
    plain = LocalKeyProvider(tmp_path)
    plain.create(FIRST)
    plain.create(SECOND)
    wrapped = plain.wrap(FIRST, TWIN_KEY, CONTEXT)
    hybrid = LocalKeyProvider(tmp_path, hybrid=True)
    assert hybrid.uri == f"local-hybrid:{tmp_path}"
    moved = hybrid.rewrap(FIRST, SECOND, wrapped, CONTEXT)
    assert (len(wrapped), len(moved)) == (112, _hybrid_wrap.WRAPPED_BYTES)
    assert plain.unwrap(SECOND, moved, CONTEXT) == TWIN_KEY
    back = plain.rewrap(SECOND, FIRST, moved, CONTEXT)
    assert len(back) == 112
    assert hybrid.unwrap(FIRST, back, CONTEXT) == TWIN_KEY


def test_the_wrap_is_bound_to_its_kek_version(tmp_path: Path) -> None:
    hybrid = LocalKeyProvider(tmp_path, hybrid=True)
    hybrid.create(FIRST)
    kek = hybrid._kek(FIRST)
    inner = _hybrid_wrap.wrap(
        kek, TWIN_KEY, length_prefixed(b"twinward/kek-wrap", ANNA.encode(), bytes((0, 0, 0, 2)), CONTEXT)
    )
    with pytest.raises(OpenError):
        hybrid.unwrap(FIRST, inner, CONTEXT)


def test_a_closed_store_has_forgotten_its_keys(tmp_path: Path) -> None:
    provider = LocalKeyProvider(tmp_path)
    provider.create(FIRST)
    provider.close()
    assert provider._master == b""
    for use in (lambda: provider.wrap(FIRST, TWIN_KEY, CONTEXT), lambda: provider.create(SECOND)):
        with pytest.raises(KeyProviderError, match="closed"):
            use()
    assert LocalKeyProvider(tmp_path).versions(ANNA) == (1,)
