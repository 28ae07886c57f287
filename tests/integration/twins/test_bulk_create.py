"""Admitting in bulk keeps every promise of admitting one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kept_homes import founded
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, Principal
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Category, Purpose, Role
from twinward.features.monitored_stays import decode_stay, encode_stay
from twinward.federation.stays.simulated import simulate_stays
from twinward.node import SYSTEM, Node
from twinward.twins.errors import BelongsToAnother
from twinward.twins.ingest.bulk_create import NewPatient, bulk_create
from twinward.twins.models import ImportRecord

STAYS = simulate_stays(3, seed=5)
CLINICIAN = Principal("dr-lee", Role.CLINICIAN)


WARD = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)


def patients(first: int = 0) -> list[NewPatient]:
    return [
        NewPatient(
            ImportRecord(f"Patient/icu-{first + n}", "Patient", Category.DEMOGRAPHICS, b'{"resourceType":"Patient"}'),
            encode_stay(stay),
        )
        for n, stay in enumerate(STAYS)
    ]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return founded(tmp_path / "home", FixedClock())


def test_a_batch_is_admitted_logged_and_found_again(node: Node) -> None:
    twins = bulk_create(node.vault, node.access, node.clock, WARD, patients())
    assert len(set(twins)) == 3
    assert node.audit.status().size == 3
    for twin, stay, one in zip(twins, STAYS, patients(), strict=True):
        assert node.twins.find(one.patient.reference) == twin
        (record,) = node.twins.read_stays(AccessContext(CLINICIAN, Purpose.TREATMENT), twin)
        np.testing.assert_array_equal(decode_stay(record.content), stay)


def test_a_known_patient_stops_the_batch_before_anything_is_written(node: Node) -> None:
    bulk_create(node.vault, node.access, node.clock, WARD, patients()[:1])
    with pytest.raises(BelongsToAnother):
        bulk_create(
            node.vault,
            node.access,
            node.clock,
            WARD,
            [*patients(7), *patients()[:1]],
        )
    assert len(node.twins.all()) == 1


def test_who_may_not_write_admits_nobody_and_the_attempt_is_logged(node: Node) -> None:
    with pytest.raises(AccessDenied):
        bulk_create(
            node.vault,
            node.access,
            node.clock,
            AccessContext(Principal("acme", Role.VENDOR), Purpose.RECORD_MANAGEMENT),
            patients(),
        )
    assert node.twins.all() == []
    assert node.audit.status().size == 1


def test_a_later_stay_is_a_new_version_of_the_first(node: Node) -> None:
    (twin, *_) = bulk_create(node.vault, node.access, node.clock, WARD, patients())
    (record,) = node.twins.keep_stays(WARD, [(twin, encode_stay(STAYS[1]))])
    assert record.version == 2
    (newest,) = node.twins.read_stays(AccessContext(CLINICIAN, Purpose.TREATMENT), twin)
    np.testing.assert_array_equal(decode_stay(newest.content), STAYS[1])
