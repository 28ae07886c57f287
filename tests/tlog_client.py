"""A reader of c2sp.org/tlog-tiles logs, written from that specification and RFC 6962 alone: no code of the ledger.

It reads a log whole, through whatever fetches a path, and holds every byte against the checkpoint's root.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

Fetch = Callable[[str], bytes]


@dataclass(frozen=True)
class ReadLog:
    origin: str
    size: int
    root: bytes
    entries: list[bytes]
    paths: list[str]
    """Every path that was fetched."""


def number_path(number: int) -> str:
    text = f"{number:03d}"
    while len(text) % 3:
        text = "0" + text
    groups = [text[at : at + 3] for at in range(0, len(text), 3)]
    return "/".join(["x" + group for group in groups[:-1]] + groups[-1:])


def read_log(fetch: Fetch) -> ReadLog:
    """The whole log. Raises ``AssertionError`` wherever it is not what the specification says."""
    text = fetch("checkpoint").decode().split("\n\n")[0]
    origin, size_line, root_line = text.split("\n")[:3]
    size, root = int(size_line), base64.b64decode(root_line, validate=True)
    paths = ["checkpoint"]

    def get(path: str) -> bytes:
        paths.append(path)
        return fetch(path)

    entries: list[bytes] = []
    for path, width in tile_paths("entries", size):
        bundle = get(path)
        for _ in range(width):
            length = int.from_bytes(bundle[:2], "big")
            entries.append(bundle[2 : 2 + length])
            bundle = bundle[2 + length :]
        assert bundle == b"", f"{path} is longer than its entries"
    hashes = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    assert len(hashes) == size
    assert merkle_tree_hash(hashes) == root
    level, nodes = 0, hashes
    while nodes:
        for number, (path, width) in enumerate(tile_paths(str(level), len(nodes))):
            tile = get(path)
            assert tile == b"".join(nodes[number * 256 : number * 256 + width]), path
        nodes = [merkle_tree_hash(nodes[at : at + 256]) for at in range(0, len(nodes) - 255, 256)]
        level += 1
    return ReadLog(origin, size, root, entries, paths)


def tile_paths(level: str, count: int) -> list[tuple[str, int]]:
    full, rest = divmod(count, 256)
    found = [(f"tile/{level}/{number_path(number)}", 256) for number in range(full)]
    return found + ([(f"tile/{level}/{number_path(full)}.p/{rest}", rest)] if rest else [])


def merkle_tree_hash(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, over leaf hashes; by its recursive definition."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return hashlib.sha256(b"\1" + merkle_tree_hash(hashes[:k]) + merkle_tree_hash(hashes[k:])).digest()
