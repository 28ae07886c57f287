"""One twin's key, unwrapped: what can be derived from it, kept for as long as the keyring caches it."""

from __future__ import annotations

from collections.abc import Collection

from twinward.core.vocabulary import Category, TwinId
from twinward.vault.errors import CategoryShredded, RecordDamaged
from twinward.vault.keys.retained_keys import CategoryKeys, KeptKeys
from twinward_crypto import blind_index, hierarchy
from twinward_crypto.name_tag import NameTagger

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

    def __init__(self, twin: TwinId, generation: int, key: bytes, kept: KeptKeys | None = None) -> None:
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

    def without(self, shredded: Collection[Category]) -> KeptKeys:
        """What is to be kept of these keys once some categories are shredded."""
        every = {
            category: CategoryKeys(self.category_key(category), self.category_tag(category)) for category in Category
        }
        gone = () if self._kept is None else self._kept.gone
        return KeptKeys(self.audit_key(), self._name_key, every, gone).without(shredded)

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
