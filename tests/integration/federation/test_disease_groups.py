"""Disease groups over hospitals' own processes: each sums its groups, the consortium adds them up, under real noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.integration.federation.kit import HOSPITALS, IDENTITIES, ROSTER, AllPaid, MemoryBudget, MemoryRegistry
from twinward.core.clock import FixedClock
from twinward.features.signal_schema import CHECKUP
from twinward.federation.coordinator import Coordinator
from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.grouped import GroupedDetector, scores_of
from twinward.federation.disease_groups import NO_GROUP
from twinward.federation.evaluation.anomaly_injection import inject_anomalies
from twinward.federation.evaluation.benchmark import Benchmark, Origin
from twinward.federation.privacy.accountant import noise_spread
from twinward.federation.privacy.dp_sum import clipped_sum, decode
from twinward.federation.site_process import SiteProcess
from twinward.federation.stays.simulated import simulate_signals
from twinward.federation.stays.sources import HeldStays
from twinward.federation.study import StudyProtocol

pytestmark = pytest.mark.slow

TABLE = CHECKUP.model_copy(update={"name": "practice", "steps": 1, "step_hours": None})
AWAY = np.array([2.5, -2, 2, 1.5] + [0] * 9) * [one.half_range for one in TABLE.signal]
STUDY = StudyProtocol.for_dp_var(
    "groups-1",
    HOSPITALS,
    signals=TABLE,
    epsilon=10.0,
    expected_patients=1800,
    disease_groups=[
        {"name": "kidneys", "expected_patients": 600},
        {"name": "rare", "expected_patients": 20},
    ],
)


def patients(count: int, seed: int, group: str) -> np.ndarray:
    return (simulate_signals(TABLE, count, seed) + AWAY * (group == "kidneys")).astype(np.float32)


def share(seed: int) -> HeldStays:
    """One hospital's 400 others, 200 of the large group and 5 of the rare one."""
    counts = {NO_GROUP: 400, "kidneys": 200, "rare": 5}
    stays = [patients(count, 10 * seed + at, name) for at, (name, count) in enumerate(counts.items())]
    return HeldStays(np.concatenate(stays), tuple(name for name, count in counts.items() for _ in range(count)))


def test_hospitals_sum_their_groups_and_the_consortium_the_hospitals(tmp_path: Path) -> None:
    shares = {name: share(at) for at, name in enumerate(HOSPITALS)}
    processes = [
        SiteProcess(
            IDENTITIES[name],
            ROSTER,
            held,
            reservations=AllPaid(),
            memory=tmp_path / f"{name}.db",
            pace_s=0.01,
            reply_timeout_s=60,
        )
        for name, held in shares.items()
    ]
    tested = inject_anomalies(patients(800, 98, "kidneys"), 5, signals=TABLE)
    benchmark = Benchmark("made-up", Origin.SYNTHETIC, tested)
    try:
        trained = Coordinator(processes, MemoryBudget(), MemoryRegistry(), FixedClock()).run(STUDY, benchmark)
    finally:
        for site in processes:
            site.close()
    model, detector = trained.model, trained.model.detector()
    assert isinstance(detector, GroupedDetector)
    assert detector.groups == ("kidneys",)  # the rare one has the backbone
    total = np.zeros(detector.dimension)
    for one in shares.values():
        given, heads = normalise(one.held, STUDY.bins, TABLE), detector.heads_of(one.named or ())
        contributions = detector.contributions_of(detector.untrained(), given, heads)
        total += decode(clipped_sum(contributions, STUDY.clip, detector.dimension), STUDY.clip)
    apart = (model.parameters - total) / noise_spread(STUDY, detector.dimension)
    assert np.abs(apart).max() < 6  # hospitals' group sums add up, but for the noise
    assert 0.7 < apart.std() < 1.3
    blocks = normalise(tested.stays, STUDY.bins, TABLE)
    by_head = scores_of(detector, model.parameters, blocks, ["kidneys"] * len(blocks))
    backbone = roc_auc_score(tested.labels, detector.scores(model.parameters, blocks))
    assert roc_auc_score(tested.labels, by_head) > backbone
