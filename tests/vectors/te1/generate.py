"""Writes ``te1.json`` from the reference implementation: ``python -m tests.vectors.te1.generate``.

Inputs are SHA-512 outputs of their names, so that nobody has to trust them. Each failing vector has one fault.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.vectors.te1 import reference

FILE = Path(__file__).with_name("te1.json")


def stream(name: str, length: int) -> bytes:
    blocks = [hashlib.sha512(f"{name}/{index}".encode()).digest() for index in range(length // 64 + 1)]
    return b"".join(blocks)[:length]


def good(desc: str, length: int, aad: bytes, generation: int) -> dict[str, Any]:
    key, nonce, plaintext = stream(f"key {desc}", 32), stream(f"nonce {desc}", 24), stream(f"text {desc}", length)
    sealed = reference.seal(key, plaintext, aad, nonce, generation)
    fields = {"key": key, "nonce": nonce, "aad": aad, "plaintext": plaintext, "sealed": sealed}
    return {"desc": desc, "generation": generation} | {name: value.hex() for name, value in fields.items()}


def bad(desc: str, base: dict[str, Any], **changes: str) -> dict[str, Any]:
    kept = {name: base[name] for name in ("key", "aad", "sealed")}
    return {"desc": desc, "error": "OpenError"} | kept | changes


def flipped(text: str, index: int) -> str:
    data = bytearray.fromhex(text)
    data[index] ^= 0x01
    return data.hex()


def vectors() -> dict[str, list[dict[str, Any]]]:
    opens = [
        good("empty plaintext, empty context", 0, b"", 0),
        good("one byte", 1, b"context", 1),
        good("a block of AES", 16, b"context", 1),
        good("a few blocks", 150, stream("long context", 300), 7),
        good("largest generation", 5, b"context", 0xFFFFFFFF),
    ]
    base = opens[3]
    sealed = base["sealed"]
    other = good("another record", 150, bytes.fromhex(base["aad"]), 7)
    fails = [
        bad("version 0", base, sealed="00" + sealed[2:]),
        bad("version 2", base, sealed="02" + sealed[2:]),
        bad("unknown suite", base, sealed=sealed[:2] + "02" + sealed[4:]),
        bad("a flag set", base, sealed=sealed[:4] + "01" + sealed[6:]),
        bad("reserved byte set", base, sealed=sealed[:6] + "01" + sealed[8:]),
        bad("another generation", base, sealed=flipped(sealed, 7)),
        bad("nonce altered", base, sealed=flipped(sealed, 8)),
        bad("commitment altered, first byte", base, sealed=flipped(sealed, 32)),
        bad("commitment altered, last byte", base, sealed=flipped(sealed, 63)),
        bad("ciphertext altered", base, sealed=flipped(sealed, 64)),
        bad("tag altered", base, sealed=flipped(sealed, len(sealed) // 2 - 1)),
        bad("one byte short", base, sealed=sealed[:-2]),
        bad("one byte more", base, sealed=sealed + "00"),
        bad("only the prelude", base, sealed=sealed[:128]),
        bad("shorter than the overhead", base, sealed=opens[0]["sealed"][:-2]),
        bad("nothing", base, sealed=""),
        bad("another key", base, key=other["key"]),
        bad("context altered", base, aad=flipped(base["aad"], 0)),
        bad("context longer by a zero byte", base, aad=base["aad"] + "00"),
        bad("context empty", base, aad=""),
        bad("ciphertext of another record", base, sealed=sealed[:128] + other["sealed"][128:]),
        bad("prelude of another record", base, sealed=other["sealed"][:128] + sealed[128:]),
    ]
    return {"opens": opens, "fails": fails}


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
