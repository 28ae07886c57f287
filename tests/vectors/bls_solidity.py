"""Writes contracts/test/BlsVectors.sol. Run it from the root: python -m tests.vectors.bls_solidity.

Made by py_ecc, an implementation independent of the contracts and of the product's own. The hashed messages are those
of RFC 9380, J.10.1, whose published points py_ecc reproduces.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from py_ecc.bls import G2ProofOfPossession as Reference
from py_ecc.bls.hash_to_curve import hash_to_G2
from py_ecc.bls.point_compression import decompress_G1, decompress_G2
from py_ecc.optimized_bls12_381 import field_modulus, normalize

from tests.vectors.bls import stray_key, stray_signature

TARGET = Path(__file__).resolve().parents[2] / "contracts" / "test" / "BlsVectors.sol"
HASH_DST = b"QUUX-V01-CS02-with-BLS12381G2_XMD:SHA-256_SSWU_RO_"
HASHED = (b"", b"abc", b"abcdef0123456789", b"q128_" + b"q" * 128, b"a512_" + b"a" * 512)
MESSAGE = b"twinward checkpoint"
SEEDS = (1, 2, 3, 4)


def g1(point: object) -> bytes:
    x, y = normalize(point)
    return int(x).to_bytes(64, "big") + int(y).to_bytes(64, "big")


def g2(point: object) -> bytes:
    x, y = normalize(point)
    return b"".join(int(part).to_bytes(64, "big") for part in (*x.coeffs, *y.coeffs))


def read_g1(data: bytes) -> bytes:
    return g1(decompress_G1(int.from_bytes(data, "big")))


def read_g2(data: bytes) -> bytes:
    return g2(decompress_G2((int.from_bytes(data[:48], "big"), int.from_bytes(data[48:], "big"))))


def unreduced(key: bytes) -> bytes:
    """The same point with the prime added to x: a second spelling that must not be read."""
    return (int.from_bytes(key[:64], "big") + field_modulus).to_bytes(64, "big") + key[64:]


def generate() -> str:
    secrets = [Reference.KeyGen(bytes([seed]) * 32) for seed in SEEDS]
    keys = [Reference.SkToPk(secret) for secret in secrets]
    signs = {key[0] & 0x20 for key in keys}
    assert signs == {0, 0x20}, "both signs of y must occur"
    signers = "\n".join(
        f'        if (i == {i}) return Signer(hex"{read_g1(key).hex()}", hex"{key.hex()}", '
        f'hex"{read_g2(Reference.Sign(secret, MESSAGE)).hex()}", hex"{read_g2(Reference.PopProve(secret)).hex()}");'
        for i, (secret, key) in enumerate(zip(secrets, keys, strict=True))
    )
    hashed = "\n".join(
        f'        if (i == {i}) return (hex"{text.hex()}", hex"{g2(hash_to_G2(text, HASH_DST, sha256)).hex()}");'
        for i, text in enumerate(HASHED)
    )
    first = read_g1(keys[0])
    return f"""// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// Made by tests/vectors/bls_solidity.py; do not edit.
library BlsVectors {{
    struct Signer {{
        bytes key;
        bytes compressed;
        bytes signature;
        bytes possession;
    }}

    string internal constant HASH_DST = "{HASH_DST.decode()}";
    bytes internal constant MESSAGE = "{MESSAGE.decode()}";
    bytes internal constant STRAY_KEY = hex"{read_g1(stray_key()).hex()}";
    bytes internal constant STRAY_SIGNATURE = hex"{read_g2(stray_signature()).hex()}";
    bytes internal constant UNREDUCED_KEY = hex"{unreduced(first).hex()}";

    function signerCount() internal pure returns (uint256) {{
        return {len(SEEDS)};
    }}

    function signer(uint256 i) internal pure returns (Signer memory) {{
{signers}
        revert();
    }}

    function hashCount() internal pure returns (uint256) {{
        return {len(HASHED)};
    }}

    function hashed(uint256 i) internal pure returns (bytes memory message, bytes memory point) {{
{hashed}
        revert();
    }}
}}
"""


if __name__ == "__main__":
    TARGET.write_text(generate(), encoding="utf-8")
