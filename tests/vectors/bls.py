"""Writes bls.json: one failure each, with the error expected. Run it from the root: python -m tests.vectors.bls.

Source of truth is py_ecc's ``G2ProofOfPossession``, the reference implementation; nothing here uses the code under
test. Points outside the subgroup are found by trying x = 1, 2, … until the curve equation has a root.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from py_ecc.bls import G2ProofOfPossession as Reference
from py_ecc.bls.g2_primitives import subgroup_check
from py_ecc.bls.point_compression import compress_G1, compress_G2, decompress_G1, decompress_G2
from py_ecc.optimized_bls12_381 import curve_order, field_modulus, multiply, neg

TARGET = Path(__file__).with_suffix(".json")
INFINITY_KEY = bytes([0xC0]) + bytes(47)
INFINITY_SIGNATURE = bytes([0xC0]) + bytes(95)


def stray_key() -> bytes:
    """A point of the curve that is not in G1."""
    for x in range(1, 1000):
        data = (x | 1 << 383).to_bytes(48, "big")
        try:
            point = decompress_G1(int.from_bytes(data, "big"))
        except ValueError:
            continue
        if not subgroup_check(point):
            return data
    raise AssertionError("no such point among small x")


def stray_signature() -> bytes:
    """A point of the twist that is not in G2."""
    for x in range(1, 1000):
        data = (1 << 383).to_bytes(48, "big") + x.to_bytes(48, "big")
        try:
            point = decompress_G2((int.from_bytes(data[:48], "big"), int.from_bytes(data[48:], "big")))
        except ValueError:
            continue
        if not subgroup_check(point):
            return data
    raise AssertionError("no such point among small x")


def negated(key: bytes) -> bytes:
    return compress_G1(neg(decompress_G1(int.from_bytes(key, "big")))).to_bytes(48, "big")


def doubled(signature: bytes) -> bytes:
    point = decompress_G2((int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big")))
    return b"".join(part.to_bytes(48, "big") for part in compress_G2(multiply(point, 2)))


def generate() -> dict[str, Any]:
    seeds = [bytes([fill]) * 32 for fill in (1, 2, 3)]
    secrets = [Reference.KeyGen(seed) for seed in seeds]
    keys = [Reference.SkToPk(secret) for secret in secrets]
    proofs = [Reference.PopProve(secret) for secret in secrets]
    message = b"twinward checkpoint"
    signatures = [Reference.Sign(secret, message) for secret in secrets]
    total = Reference.Aggregate(signatures)
    above = (field_modulus + 4 | 1 << 383).to_bytes(48, "big")

    def single(desc: str, key: bytes, signature: bytes, error: str, *, of: bytes = message) -> dict[str, Any]:
        return {"desc": desc, "keys": [key.hex()], "message": of.hex(), "signature": signature.hex(), "error": error}

    def many(desc: str, chosen: list[bytes], signature: bytes, error: str) -> dict[str, Any]:
        hexed = [key.hex() for key in chosen]
        return {"desc": desc, "keys": hexed, "message": message.hex(), "signature": signature.hex(), "error": error}

    return {
        "signers": [
            {
                "seed": seed.hex(),
                "secret_key": secret.to_bytes(32, "big").hex(),
                "public_key": key.hex(),
                "possession": proof.hex(),
                "signature": signature.hex(),
            }
            for seed, secret, key, proof, signature in zip(seeds, secrets, keys, proofs, signatures, strict=True)
        ],
        "message": message.hex(),
        "aggregate": total.hex(),
        "verify": [
            single("a good signature", keys[0], signatures[0], ""),
            single("another signer's signature", keys[0], signatures[1], "InvalidSignature"),
            single("another message", keys[0], signatures[0], "InvalidSignature", of=message + b"."),
            single(
                "a proof of possession is no signature of the key", keys[0], proofs[0], "InvalidSignature", of=keys[0]
            ),
            single("twice the signature", keys[0], doubled(signatures[0]), "InvalidSignature"),
            single("signature one byte short", keys[0], signatures[0][:-1], "InvalidSignature"),
            single("signature one byte long", keys[0], signatures[0] + b"\x00", "InvalidSignature"),
            single("no signature", keys[0], b"", "InvalidSignature"),
            single("signature at infinity", keys[0], INFINITY_SIGNATURE, "InvalidSignature"),
            single("infinity spelled 0xff…", keys[0], b"\xff" * 96, "InvalidSignature"),
            single("signature without the compression flag", keys[0], b"\x00" * 96, "InvalidSignature"),
            single("signature outside the subgroup", keys[0], stray_signature(), "InvalidSignature"),
            single("key one byte short", keys[0][:-1], signatures[0], "MalformedKey"),
            single("key one byte long", keys[0] + b"\x00", signatures[0], "MalformedKey"),
            single("no key", b"", signatures[0], "MalformedKey"),
            single("key at infinity", INFINITY_KEY, signatures[0], "MalformedKey"),
            single("key at infinity, signature too", INFINITY_KEY, INFINITY_SIGNATURE, "MalformedKey"),
            single("infinity with a stray bit", INFINITY_KEY[:-1] + b"\x01", signatures[0], "MalformedKey"),
            single("key outside the subgroup", stray_key(), signatures[0], "MalformedKey"),
            single("coordinate not below the field's prime", above, signatures[0], "MalformedKey"),
        ],
        "fast_aggregate_verify": [
            many("all three", keys, total, ""),
            many("order does not matter", keys[::-1], total, ""),
            many("one signer missing", keys[:2], total, "InvalidSignature"),
            many("one signer twice", [*keys, keys[0]], total, "InvalidSignature"),
            many("no signers", [], total, "InvalidSignature"),
            many("no signers, infinity", [], INFINITY_SIGNATURE, "InvalidSignature"),
            many("keys that cancel out", [keys[0], negated(keys[0])], INFINITY_SIGNATURE, "InvalidSignature"),
            many("one key at infinity", [*keys, INFINITY_KEY], total, "MalformedKey"),
            many("one key outside the subgroup", [*keys, stray_key()], total, "MalformedKey"),
        ],
        "secret_keys": [
            {"desc": "zero", "secret_key": bytes(32).hex()},
            {"desc": "the order", "secret_key": curve_order.to_bytes(32, "big").hex()},
            {"desc": "all ones", "secret_key": (b"\xff" * 32).hex()},
            {"desc": "short", "secret_key": bytes([1] * 31).hex()},
            {"desc": "long", "secret_key": bytes([1] * 33).hex()},
            {"desc": "empty", "secret_key": ""},
        ],
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(generate(), indent=1) + "\n", encoding="utf-8")
