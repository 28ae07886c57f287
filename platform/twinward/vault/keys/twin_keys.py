"""A twin's key, unwrapped: what is derived from it, what of that outlives it, and how long it is kept in memory.

**Retained keys.** Category keys are derived from the twin key, so one of them cannot be destroyed while the twin key
lives. Shredding a category therefore replaces the twin key: a new random one of the next generation is wrapped in its
place, and what was derived from the old one (the other categories' keys, the audit key, the tags) is retained, sealed
under the new. Nothing of other categories is rewritten. The shredded category goes on with a key derived from the new
twin key.

Retained keys are canonical JSON, padded, in a ``TE1`` envelope under ``derive(twin key, "twinward/kept-keys", "", 32)``
with the generation in its header:

    {"audit": 32 bytes, "names": 64 bytes, "gone": [tag, …],
     "categories": {"<category>": {"key": 32 bytes, "tag": 16 bytes}, …}}     bytes in hexadecimal

``gone`` are the tags of shredded generations: rows that an old backup brings back are known for what they are.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from twinward.core.clock import Clock
from twinward.core.vocabulary import Category, TwinId
from twinward.vault.errors import CategoryShredded, RecordDamaged
from twinward_crypto import blind_index, hierarchy
from twinward_crypto.canonical import canonicalize
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import derive, length_prefixed
from twinward_crypto.name_tag import NameTagger
from twinward_crypto.padding import pad, unpad

CATEGORY_TAGS = "category"


class TwinKeys:
    """Derives category keys and blind tags of one twin and generation, each once.

    Where categories were shredded, what was derived from earlier twin keys comes from ``kept``.

    It holds keys: it has no representation and is never pickled. Python cannot zero memory, so dropping it only makes
    its memory available for reuse.
    """

    __slots__ = (
        *("_category_keys", "_category_of", "_category_tags", "_key", "_kept", "_name_key", "_names", "_types"),
        *("generation", "twin"),
    )

    def __init__(self, twin: TwinId, generation: int, key: bytes, kept: RetainedKeys | None = None) -> None:
        self.twin = twin
        self.generation = generation
        self._key = key
        self._kept = kept
        tag_key = hierarchy.tag_key(key, CATEGORY_TAGS)
        self._category_tags = {category: blind_index.tag(tag_key, category.value.encode()) for category in Category}
        self._category_keys: dict[Category, bytes] = {}
        if kept is not None:
            self._category_tags |= {category: keys.tag for category, keys in kept.categories.items()}
            self._category_keys |= {category: keys.key for category, keys in kept.categories.items()}
        self._category_of = {tag: category for category, tag in self._category_tags.items()}
        self._name_key = hierarchy.name_tag_key(key) if kept is None else kept.names
        self._names = NameTagger(self._name_key)
        self._types: dict[bytes, str] = {}

    def category_key(self, category: Category) -> bytes:
        """The 32-byte key that seals a category's records."""
        key = self._category_keys.get(category)
        if key is None:
            key = self._category_keys[category] = hierarchy.category_key(self._key, category.value, self.generation)
        return key

    def audit_key(self) -> bytes:
        """The 32-byte key that seals events about this twin."""
        return hierarchy.audit_key(self._key) if self._kept is None else self._kept.audit

    def category_tag(self, category: Category) -> bytes:
        """The 16-byte blind tag under which a category's rows stand in storage."""
        return self._category_tags[category]

    def category_of(self, tag: bytes) -> Category:
        """The category a row's tag stands for.

        Raises:
            CategoryShredded: it stood for one whose key was destroyed since; an old backup brought the row back.
            RecordDamaged: it stands for none.
        """
        category = self._category_of.get(tag)
        if category is None:
            if self._kept is not None and tag in self._kept.gone:
                raise CategoryShredded("this record's category was shredded: nothing of it opens any more")
            raise RecordDamaged("a stored row carries a category tag that is not this twin's")
        return category

    def without(self, shredded: Collection[Category]) -> RetainedKeys:
        """What is to be kept of these keys once some categories are shredded."""
        every = {
            category: CategoryKeys(self.category_key(category), self.category_tag(category)) for category in Category
        }
        gone = () if self._kept is None else self._kept.gone
        return RetainedKeys(self.audit_key(), self._name_key, every, gone).without(shredded)

    def type_tag(self, record_type: str) -> bytes:
        """The 64-byte blind tag of a record type. Raises ``ParameterError`` for an empty or overlong name."""
        return self._names.tag(record_type)

    def type_of(self, tag: bytes) -> str:
        """The record type a row's tag stands for. Raises ``OpenError`` for a tag not of this twin."""
        name = self._types.get(tag)
        if name is None:
            name = self._types[tag] = self._names.name(tag)
        return name

    def __reduce__(self) -> str:
        raise TypeError("a twin's keys are not pickled")


KEPT_KEYS = b"twinward/kept-keys"


@dataclass(frozen=True, slots=True)
class CategoryKeys:
    """One category's key (32 bytes) and blind tag (16 bytes)."""

    key: bytes = field(repr=False)
    tag: bytes

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled")


@dataclass(frozen=True, slots=True)
class RetainedKeys:
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

    def without(self, shredded: Iterable[Category]) -> RetainedKeys:
        """The same, with some categories' keys forgotten and their tags remembered as gone."""
        doomed = set(shredded)
        kept = {category: keys for category, keys in self.categories.items() if category not in doomed}
        gone = tuple(self.categories[category].tag for category in sorted(doomed & self.categories.keys()))
        return RetainedKeys(self.audit, self.names, kept, self.gone + gone)

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
    def open(cls, twin_key: bytes, sealed: bytes, place: bytes) -> RetainedKeys:
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


CACHE_TTL_MS = 60_000
"""How long an unwrapped key stays in this process. A shredding in another process empties the cache long before."""
CACHE_TWINS = 4_096
CHECK_EVERY_MS = 250
"""How often this process looks whether another one has shredded something: a shredding waits so long before it says
that it is done."""


class KeyCache:
    """Twins' keys that were unwrapped lately. Safe to share between threads.

    Args:
        clock: for how long keys stay, and for when to look.
        newest: the number of the newest shredding, read from the keyring's database.
        seen: that number when the keyring was opened.
    """

    def __init__(self, clock: Clock, newest: Callable[[], int], seen: int) -> None:
        self._clock = clock
        self._newest = newest
        self._seen, self._look_at_ms = seen, 0
        self._lock = threading.Lock()
        self._keys: dict[TwinId, tuple[int, TwinKeys]] = {}
        self._reserved: set[TwinId] = set()
        self._emptied = 0

    @property
    def emptied(self) -> int:
        """How often the cache was emptied: taken before a key is read, and given to ``put`` with it."""
        return self._emptied

    def get(self, twin: TwinId, *, created: bool = True) -> TwinKeys | None:
        """A twin's keys, unless they are too old, or something was shredded since. Raises ``VaultUnavailable``.

        Those of a twin that is only about to be made, for whoever does not want it ``created``.
        """
        self._look_for_shreds()
        with self._lock:
            entry = self._keys.get(twin)
            if entry is not None and entry[0] > self._clock.now_ms():
                return None if created and twin in self._reserved else entry[1]
            self._drop(twin)
        return None

    def put(self, twin: TwinId, keys: TwinKeys, emptied: int) -> None:
        """Keep a twin's keys that were read when ``emptied`` was this."""
        with self._lock:
            if emptied != self._emptied:
                return  # a shredding came between reading the row and now: it may have been this twin's
            self._reserved.discard(twin)
            self._put(twin, keys)

    def put_reserved(self, made: Iterable[TwinKeys], emptied: int) -> None:
        """Keep keys that were made durable for twins about to be made, begun when ``emptied`` was this."""
        with self._lock:
            for keys in made if emptied == self._emptied else ():
                self._put(keys.twin, keys)
                self._reserved.add(keys.twin)

    def mark_created(self, twins: Iterable[TwinId]) -> None:
        """These twins were made, durably."""
        with self._lock:
            self._reserved.difference_update(twins)

    def empty(self) -> None:
        """Forget every key, and those that are being read at this moment."""
        with self._lock:
            self._empty()

    def _look_for_shreds(self) -> None:
        """Empty the cache where another process has shredded something."""
        now = self._clock.now_ms()
        if now < self._look_at_ms:
            return
        newest = self._newest()
        with self._lock:
            self._look_at_ms = now + CHECK_EVERY_MS
            if newest != self._seen:
                self._seen = newest
                self._empty()

    def _put(self, twin: TwinId, keys: TwinKeys) -> None:
        while len(self._keys) >= CACHE_TWINS:
            self._drop(next(iter(self._keys)))
        self._keys[twin] = (self._clock.now_ms() + CACHE_TTL_MS, keys)

    def _drop(self, twin: TwinId) -> None:
        self._keys.pop(twin, None)
        self._reserved.discard(twin)

    def _empty(self) -> None:
        self._emptied += 1
        self._keys.clear()
        self._reserved.clear()
