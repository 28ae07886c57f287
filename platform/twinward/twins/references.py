"""The strings a record is found under. The vault keeps only blind tags of them.

Three per record: its name; its name with its category, so that the permit asked for is exactly as wide as the record;
and its name with the SHA-256 of its content, so that importing the same again is noticed without opening anything.
"""

from __future__ import annotations

import hashlib

from twinward.vocabulary import Category, TwinId

DELETED = b""
"""The content of a deletion: it is a version like any other, so the record keeps its name, its chain and its key."""


def references_of(
    reference: str, category: Category, content: bytes, found_by: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """What a record is stored under."""
    return (reference, in_category(reference, category), as_content(reference, category, content), *found_by)


def deleted(reference: str, category: Category) -> str:
    """Found only while the record's newest version is a deletion."""
    return as_content(reference, category, DELETED)


def in_category(reference: str, category: Category) -> str:
    """Found only while the record's newest version has this category."""
    return f"{reference}@{category}"


def as_content(reference: str, category: Category, content: bytes) -> str:
    """Found only while the record's newest version is exactly this."""
    return f"{reference}#{category}#{hashlib.sha256(content).hexdigest()}"


def features_of(twin: TwinId) -> str:
    """The twin's feature vector."""
    return f"FeatureVector/{twin}"


def features_under(twin: TwinId, fingerprint: str) -> str:
    """The twin's feature vector, if it was made under this schema."""
    return f"FeatureVector/{twin}?schema={fingerprint}"


def target_of(twin: TwinId, feature: str) -> str:
    """What care aims at for one feature of the twin."""
    return f"CareTarget/{twin}/{feature}"


def stay_of(twin: TwinId, name: str) -> str:
    """One monitored stay of the twin."""
    return f"Stay/{twin}/{name}"
