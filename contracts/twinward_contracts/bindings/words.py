"""Messages of 32-byte words, as Solidity's ``abi.encode`` lays out values of fixed size; integers are big-endian."""

from __future__ import annotations


def word(number: int) -> bytes:
    """A number from 0 to 2^256 - 1. Raises ``ValueError``."""
    try:
        return number.to_bytes(32, "big")
    except OverflowError:
        raise ValueError(f"{number} does not fit a word") from None


def address_word(address: str) -> bytes:
    """An address in hexadecimal, right-aligned. Raises ``ValueError``."""
    raw = bytes.fromhex(address.removeprefix("0x"))
    if len(raw) != 20:
        raise ValueError("an address has 20 bytes")
    return raw.rjust(32, b"\x00")


def tag(text: str) -> bytes:
    """A short ASCII text as ``bytes32``, padded with zeros."""
    return message(text.encode("ascii").ljust(32, b"\x00"))


def message(*words: bytes) -> bytes:
    """The words in a row. Raises ``ValueError`` unless each has 32 bytes."""
    if any(len(one) != 32 for one in words):
        raise ValueError("a word, a root and an id have 32 bytes")
    return b"".join(words)
