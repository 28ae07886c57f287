"""SEAL's bytes and packed polynomials: what SEAL writes is what we would write, and nothing else is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tenseal.sealapi as seal
import zstandard

from twinward_crypto.errors import MalformedBundle, MalformedKey
from twinward_crypto.homomorphic import _seal
from twinward_crypto.homomorphic._seal import Level
from twinward_crypto.homomorphic.gated import GateKey
from twinward_crypto.homomorphic.parameters import FAST, MEDIUM, Plan, plan, plan_gated
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.residues import pack, packed_size, unpack
from twinward_crypto.homomorphic.ring_key import RingKey
from twinward_crypto.homomorphic.seal_format import Form, uncompressed

BFV, CKKS = plan(2, 16, profile=MEDIUM), plan_gated(2, 16)


def encrypted(made: Plan, key: RingKey, *, seeded: bool) -> Any:
    if made.plain_modulus:
        plaintext = _seal.polynomial(made, np.array([5], dtype=np.uint64))
    else:
        plaintext = seal.Plaintext()
        seal.CKKSEncoder(key._context).encode(5.0, 2.0**20, plaintext)
    if seeded:
        return seal.Encryptor(key._context, key._secret).encrypt_symmetric(plaintext)
    ciphertext = seal.Ciphertext()
    seal.Encryptor(key._context, key._public).encrypt(plaintext, ciphertext)
    return ciphertext


def objects(made: Plan) -> dict[str, tuple[type, Form, Any]]:
    key = (QueryKey if made.plain_modulus else GateKey).generate(made)
    bits = 0 if made.plain_modulus else 20
    first = {"scale_bits": bits}
    return {
        "seeded": (
            seal.Ciphertext,
            _seal.ciphertext_form(made, Level.FIRST, seeded=True, **first),
            encrypted(made, key, seeded=True),
        ),
        "full": (
            seal.Ciphertext,
            _seal.ciphertext_form(made, Level.FIRST, **first),
            encrypted(made, key, seeded=False),
        ),
        "public key": (seal.PublicKey, _seal.ciphertext_form(made, Level.KEY), key._public),
        "secret key": (seal.SecretKey, _seal.plaintext_form(made, Level.KEY), key._secret),
    }


@pytest.mark.parametrize("made", [BFV, CKKS], ids=["bfv", "ckks"])
@pytest.mark.parametrize("name", ["seeded", "full", "public key", "secret key"])
def test_what_seal_writes_is_read_and_written_again_to_the_byte(made: Plan, name: str) -> None:
    kind, form, thing = objects(made)[name]
    saved = _seal.save(thing)
    assert len(saved) == form.size
    residues, seed = form.read(saved)
    assert form.write(residues, seed) == saved
    assert len(seed) == (64 if name == "seeded" else 0)
    again = _seal.save(_seal.load(kind, made, form, saved))
    assert name == "seeded" or again == saved  # SEAL expands a seed: what was seeded is saved in full


@pytest.mark.parametrize("name", ["seeded", "full", "secret key"])
def test_every_byte_outside_of_coefficients_and_seed_is_checked(name: str) -> None:
    _, form, thing = objects(BFV)[name]
    saved = _seal.save(thing)
    fixed = 88 if name == "secret key" else 113
    after = fixed + 8 * form.stored * len(form.moduli) * form.degree
    minor = {4, fixed - 20, after + 4}  # SEAL's minor version, which all headers must share
    for place in [*range(fixed), *range(after, min(after + 17, len(saved)))]:
        altered = bytearray(saved)
        altered[place] ^= 0x41
        with pytest.raises(MalformedBundle):
            form.read(bytes(altered))
    altered = bytearray(saved)
    for place in (place for place in minor if place < len(saved)):
        altered[place] += 1
    form.read(bytes(altered))
    for data in (saved[:-1], saved + b"\0", b""):
        with pytest.raises(MalformedBundle):
            form.read(data)


def test_a_coefficient_that_is_no_residue_is_refused() -> None:
    _, form, thing = objects(BFV)["full"]
    residues = form.read(_seal.save(thing))[0].copy()
    for polynomial in range(2):
        for row, prime in enumerate(form.moduli):
            altered = residues.copy()
            altered[polynomial, row, 77] = prime
            with pytest.raises(MalformedBundle, match="not below its prime"):
                form.read(form.write(altered))


@pytest.mark.parametrize("bits", [2, 7, 8, 36, 37, 54, 55, 56, 57])
def test_packing_is_the_number_with_these_fields(bits: int) -> None:
    """Against the obvious reading: one large number, cut into fields."""
    moduli = ((1 << bits) - 1,)
    residues = np.random.default_rng(bits).integers(0, moduli[0], (1, 1, 64), dtype=np.uint64)
    packed = pack(residues, moduli)
    number = sum(int(value) << bits * place for place, value in enumerate(residues[0, 0]))
    assert packed == number.to_bytes(packed_size(moduli, 64, 1), "little")
    assert np.array_equal(unpack(packed, moduli, 64, 1), residues)


def test_packed_polynomials_have_one_length() -> None:
    form = _seal.ciphertext_form(BFV, Level.FIRST)
    size = packed_size(form.moduli, form.degree, 2)
    for wrong in (0, size - 1, size + 1):
        with pytest.raises(MalformedBundle):
            unpack(bytes(wrong), form.moduli, form.degree, 2)


def test_what_unpacks_to_more_than_it_may_is_refused() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 24))
    assert len(bomb) < 2000
    saved = bytes.fromhex("5ea1100403020000") + (16 + len(bomb)).to_bytes(8, "little") + bomb
    with pytest.raises(MalformedBundle, match="more than it may"):
        uncompressed(saved, 100_000)
    assert len(uncompressed(saved, 1 << 24)) == 16 + (1 << 24)


def test_a_secret_key_kept_compressed_by_an_earlier_build_is_restored() -> None:
    """What earlier builds sealed away is SEAL's own zstd form; now it is kept as SEAL would write it uncompressed."""
    made = plan(2, 16, profile=FAST)
    key = QueryKey.generate(made)
    with _seal._scratch() as path:
        key._secret.save(str(path))
        compressed = path.read_bytes()
    plain = key.dangerously_export_secret()
    assert compressed[5] == 2
    assert plain[5] == 0
    for secret in (compressed, plain):
        assert QueryKey.restore(made, secret).dangerously_export_secret() == plain
    for wrong in (compressed[:-1], plain[:-1], plain + b"\0", compressed[:5] + b"\1" + compressed[6:], b""):
        with pytest.raises(MalformedKey):
            QueryKey.restore(made, wrong)
