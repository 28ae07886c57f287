"""What gated mode gives away and what it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.integration.similarity.fixtures import VENDOR, House, schema_of
from twinward.client import HospitalRefused
from twinward.core.errors import Unavailable
from twinward.protocol.messages import GatedQuery
from twinward.protocol.terms import Mode
from twinward.similarity.errors import QueryMalformed, SchemaMismatch
from twinward.similarity.scoring.engines import GatedEngine
from twinward.similarity.scoring.shards import ProcessScorer
from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic.gated import GateKey, encrypt_gated_query, score_gated
from twinward_crypto.homomorphic.parameters import plan_gated

SCHEMA = schema_of({"a": (0, 127), "b": (0, 127)})


@pytest.fixture
def house(tmp_path: Path) -> House:
    levels = np.random.default_rng(31).integers(0, 128, (30, 2))
    return House(tmp_path, SCHEMA, levels, modes=(Mode.GATED,), allowance=20)


def query(house: House, bundle: bytes, threshold_squared: int = 10) -> GatedQuery:
    return GatedQuery.model_construct(
        epoch=house.service.cohort.epoch, threshold_squared=threshold_squared, bundle=bundle
    )


def test_the_scoring_side_holds_no_key(house: House) -> None:
    """It runs in a process of its own, in whose memory the gate's secret key is nowhere; its index is."""
    engine = house.service._gated
    assert isinstance(engine, GatedEngine)
    assert isinstance(engine.scorer, ProcessScorer)
    house.vendor().query_gated({"a": 1.0, "b": 1.0})
    (pid,) = engine.scorer.pids
    secret = engine.gate.dangerously_export_secret()[88 + 512 : 88 + 640]
    with engine.scorer._prepared.path.open("rb") as index:
        index.seek(4096)
        public = index.read(128)
    assert not held_by(pid, secret)
    assert held_by(pid, public)


def held_by(pid: int, needle: bytes) -> bool:
    """Whether a process of ours holds these bytes anywhere in its memory."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end = (int(edge, 16) for edge in line.split()[0].split("-"))
            try:
                memory.seek(start)
                if needle in memory.read(end - start):
                    return True
            except (OSError, ValueError, OverflowError):
                continue
    return False


def test_a_single_patient_is_not_confirmed(house: House) -> None:
    """A ball of radius zero around a known patient gives what a ball around nobody gives."""
    present = dict(zip("ab", house.levels[0].astype(float).tolist(), strict=True))
    levels = {tuple(row) for row in house.levels.tolist()}
    free = next((a, b) for a in range(128) for b in range(128) if (a, b) not in levels)
    with house.vendor() as vendor:
        here = vendor.query_gated(present, threshold=0.0)
        nobody = vendor.query_gated({"a": float(free[0]), "b": float(free[1])}, threshold=0.0)
    assert (here.handles, here.count, here.withheld) == (nobody.handles, nobody.count, nobody.withheld)
    assert here.count is None
    assert not [event for event in house.trail.events if event.action == "export"]


def test_a_query_under_another_gates_key_is_refused(house: House) -> None:
    engine = house.service._gated
    assert engine is not None
    stranger = GateKey.generate(engine.gate.plan).public_bundle(binding=engine.binding)
    with pytest.raises(QueryMalformed, match="no well-formed query"):
        house.answers.answer_gated(VENDOR, query(house, encrypt_gated_query(stranger, [1, 2]).encode()))


def test_a_malformed_query_costs_nothing_and_is_logged(house: House) -> None:
    before, start = house.budget.remaining(VENDOR.id, 0), len(house.trail.events)
    with pytest.raises(QueryMalformed):
        house.answers.answer_gated(VENDOR, query(house, b"TWHE" + bytes(200)))
    assert house.budget.remaining(VENDOR.id, 0) == before
    assert len(house.trail.events) == start + 1


def test_a_query_for_another_hospital_is_refused(house: House) -> None:
    other = GateKey.generate(house.service._gated.gate.plan).public_bundle(binding=bytes(32))
    with pytest.raises(QueryMalformed, match="another schema or epoch"):
        house.answers.answer_gated(VENDOR, query(house, encrypt_gated_query(other, [1, 2]).encode()))


def test_a_stale_query_is_refused_before_it_is_read(house: House) -> None:
    stale = GatedQuery.model_construct(epoch=1, threshold_squared=1, bundle=b"")
    with pytest.raises(SchemaMismatch):
        house.answers.answer_gated(VENDOR, stale)


def test_no_log_no_answer_and_no_spend(house: House) -> None:
    house.vendor().query_gated({"a": 1.0, "b": 1.0})
    left = house.budget.remaining(VENDOR.id, 0)
    house.trail.full = True
    with house.vendor() as vendor, pytest.raises(HospitalRefused) as refusal:
        vendor.query_gated({"a": 1.0, "b": 1.0}, threshold=1.0)
    assert refusal.value.status == Unavailable.http_status
    assert house.budget.remaining(VENDOR.id, 0) == left


def test_raw_approximations_never_leave_the_gate() -> None:
    """Equal records get equal whole numbers however their ciphertexts' errors differ."""
    key = GateKey.generate(plan_gated(2, 128))
    index = key.encrypt_index(np.full((40, 2), 63))
    opened = key.open_distances(score_gated(encrypt_gated_query(key.public_bundle(), [60, 60]), index))
    assert opened.dtype == np.int64
    assert set(opened.tolist()) == {18}


def test_a_gates_key_opens_no_other_plans_scores() -> None:
    small, large = (GateKey.generate(plan_gated(d, 16)) for d in (1, 2))
    scores = score_gated(encrypt_gated_query(small.public_bundle(), [1]), small.encrypt_index(np.array([[1]])))
    with pytest.raises(MalformedBundle):
        large.open_distances(scores)
