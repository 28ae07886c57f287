"""One twin's key, unwrapped: what can be derived from it, kept for as long as the keyring caches it."""

from __future__ import annotations

from twinward.vault.errors import RecordDamaged
from twinward.vocabulary import Category, TwinId
from twinward_crypto import blind_index, hierarchy
from twinward_crypto.name_tag import NameTagger

CATEGORY_TAGS = "category"


class TwinKeys:
    """Derives category keys and blind tags of one twin and generation, each once.

    It holds keys: it has no representation and is never pickled. Python cannot zero memory, so dropping it only makes
    its memory available for reuse.
    """

    __slots__ = ("_category_keys", "_category_of", "_category_tags", "_key", "_names", "_types", "generation", "twin")

    def __init__(self, twin: TwinId, generation: int, key: bytes) -> None:
        self.twin = twin
        self.generation = generation
        self._key = key
        tag_key = hierarchy.tag_key(key, CATEGORY_TAGS)
        self._category_tags = {category: blind_index.tag(tag_key, category.value.encode()) for category in Category}
        self._category_of = {tag: category for category, tag in self._category_tags.items()}
        self._category_keys: dict[Category, bytes] = {}
        self._names = NameTagger(hierarchy.name_tag_key(key))
        self._types: dict[bytes, str] = {}

    def category_key(self, category: Category) -> bytes:
        """The 32-byte key that seals a category's records."""
        key = self._category_keys.get(category)
        if key is None:
            key = self._category_keys[category] = hierarchy.category_key(self._key, category.value, self.generation)
        return key

    def audit_key(self) -> bytes:
        """The 32-byte key that seals events about this twin."""
        return hierarchy.audit_key(self._key)

    def category_tag(self, category: Category) -> bytes:
        """The 16-byte blind tag under which a category's rows stand in storage."""
        return self._category_tags[category]

    def category_of(self, tag: bytes) -> Category:
        """The category a row's tag stands for. Raises ``RecordDamaged`` where it stands for none."""
        category = self._category_of.get(tag)
        if category is None:
            raise RecordDamaged("a stored row carries a category tag that is not this twin's")
        return category

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
