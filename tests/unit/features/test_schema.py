"""The fingerprint is computed once, and is the same as if it were computed each time."""

from __future__ import annotations

import copy
import hashlib
import pickle

from twinward.features.schema import CARDIOMETABOLIC as SCHEMA
from twinward.features.schema import FeatureSchema


def computed(schema: FeatureSchema) -> str:
    return hashlib.sha256(schema.model_dump_json().encode()).hexdigest()


def unasked() -> FeatureSchema:
    return FeatureSchema.model_validate_json(SCHEMA.model_dump_json())


def test_asking_changes_nothing_about_the_schema() -> None:
    asked, other = unasked(), unasked()
    assert asked.fingerprint() == asked.fingerprint() == computed(other)
    assert (asked, hash(asked), repr(asked)) == (other, hash(other), repr(other))
    assert asked.model_dump_json() == other.model_dump_json()
    assert asked.model_dump() == other.model_dump()


def test_a_changed_copy_has_a_fingerprint_of_its_own() -> None:
    SCHEMA.fingerprint()
    for deep in (False, True):
        changed = SCHEMA.model_copy(update={"levels": 64}, deep=deep)
        assert changed.fingerprint() == computed(changed) != SCHEMA.fingerprint()


def test_equal_copies_have_equal_fingerprints() -> None:
    SCHEMA.fingerprint()
    for same in (copy.copy(SCHEMA), copy.deepcopy(SCHEMA), SCHEMA.model_copy(), pickle.loads(pickle.dumps(SCHEMA))):
        assert same == SCHEMA
        assert same.fingerprint() == SCHEMA.fingerprint()
