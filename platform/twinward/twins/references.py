"""The strings a record is found under, and its fingerprint. The vault keeps only blind tags of them.

A record is found under its name and whatever else its source says (``found_by``). Its fingerprint is of its name, its
category and the SHA-256 of its content, so that importing the same again is noticed without opening anything.
"""

from __future__ import annotations

import hashlib

from twinward.core.vocabulary import Category, TwinId

DELETED = b""
"""The content of a deletion: it is a version like any other, so the record keeps its name, its chain and its key."""


def references_of(reference: str, category: Category, content: bytes) -> tuple[str, ...]:
    """For the few records whose fingerprint must find them, too: the node's own."""
    return reference, as_content(reference, category, content)


def deleted(reference: str, category: Category) -> str:
    """The fingerprint of a record whose newest version is a deletion."""
    return as_content(reference, category, DELETED)


def as_content(reference: str, category: Category, content: bytes) -> str:
    """The fingerprint of a record whose newest version is exactly this."""
    return f"{reference}#{category}#{hashlib.sha256(content).hexdigest()}"


def features_of(twin: TwinId) -> str:
    """The twin's feature vector."""
    return f"FeatureVector/{twin}"


def features_under(twin: TwinId, fingerprint: str) -> str:
    """The twin's feature vector, if it was made under this schema, in the form that says which record said what."""
    return f"FeatureVector/{twin}?schema={fingerprint}&form=2"


def codes_under(twin: TwinId, fingerprint: str) -> str:
    """The twin's feature vector, if it knows the coded features of this code list."""
    return f"FeatureVector/{twin}?codes={fingerprint}"


def target_of(twin: TwinId, feature: str) -> str:
    """What care aims at for one feature of the twin."""
    return f"CareTarget/{twin}/{feature}"


def stay_of(twin: TwinId, name: str) -> str:
    """One monitored stay of the twin."""
    return f"Stay/{twin}/{name}"
