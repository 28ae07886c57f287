"""What of a twin's key outlives it when a category is shredded: every key that was derived from it, save the shredded.

Category keys are derived from the twin key, so one of them cannot be destroyed while the twin key lives. Shredding a
category therefore replaces the twin key: a new random one of the next generation is wrapped in its place, and what was
derived from the old one (the other categories' keys, the audit key, the tags) is kept, sealed under the new. Nothing of
other categories is rewritten. The shredded category goes on with a key derived from the new twin key.

The plaintext is canonical JSON, padded, in a ``TE1`` envelope under ``derive(twin key, "twinward/kept-keys", "", 32)``
with the generation in its header:

    {"audit": 32 bytes, "names": 64 bytes, "gone": [tag, …],
     "categories": {"<category>": {"key": 32 bytes, "tag": 16 bytes}, …}}     bytes in hexadecimal

``gone`` are the tags of shredded generations: rows that an old backup brings back are known for what they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from twinward.core.vocabulary import Category
from twinward_crypto.canonical import canonicalize
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import derive, length_prefixed
from twinward_crypto.padding import pad, unpad

KEPT_KEYS = b"twinward/kept-keys"


@dataclass(frozen=True, slots=True)
class CategoryKeys:
    """One category's key (32 bytes) and blind tag (16 bytes)."""

    key: bytes = field(repr=False)
    tag: bytes

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled")


@dataclass(frozen=True, slots=True)
class KeptKeys:
    """Keys that outlive the twin key they were derived from.

    Attributes:
        audit: seals events about the twin.
        names: tags record types.
        categories: those that were never shredded, or were written under a key of a later generation since.
        gone: tags of shredded generations.
    """

    audit: bytes = field(repr=False)
    names: bytes = field(repr=False)
    categories: Mapping[Category, CategoryKeys] = field(repr=False)
    gone: tuple[bytes, ...] = ()

    def without(self, shredded: Iterable[Category]) -> KeptKeys:
        """The same, with some categories' keys forgotten and their tags remembered as gone."""
        doomed = set(shredded)
        kept = {category: keys for category, keys in self.categories.items() if category not in doomed}
        gone = tuple(self.categories[category].tag for category in sorted(doomed & self.categories.keys()))
        return KeptKeys(self.audit, self.names, kept, self.gone + gone)

    def seal(self, twin_key: bytes, place: bytes, generation: int) -> bytes:
        """Seal under the new twin key, bound to ``hierarchy.wrap_context``."""
        plain = {
            "audit": self.audit.hex(),
            "names": self.names.hex(),
            "gone": [tag.hex() for tag in self.gone],
            "categories": {
                category.value: {"key": keys.key.hex(), "tag": keys.tag.hex()}
                for category, keys in self.categories.items()
            },
        }
        return seal(_key(twin_key), pad(canonicalize(plain)), _aad(place), generation=generation)

    @classmethod
    def open(cls, twin_key: bytes, sealed: bytes, place: bytes) -> KeptKeys:
        """Open what ``seal`` made. Raises ``OpenError`` for anything else."""
        plain = json.loads(unpad(open_sealed(_key(twin_key), sealed, _aad(place))))
        try:
            return cls(
                bytes.fromhex(plain["audit"]),
                bytes.fromhex(plain["names"]),
                {
                    Category(name): CategoryKeys(bytes.fromhex(keys["key"]), bytes.fromhex(keys["tag"]))
                    for name, keys in plain["categories"].items()
                },
                tuple(map(bytes.fromhex, plain["gone"])),
            )
        except (KeyError, TypeError, ValueError):  # authentic, and of a version that knows more categories
            raise OpenError from None

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled")


def _key(twin_key: bytes) -> bytes:
    return derive(twin_key, KEPT_KEYS, b"")


def _aad(place: bytes) -> bytes:
    return length_prefixed(KEPT_KEYS, place)
