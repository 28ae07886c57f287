"""A study over simulated hospitals in this process, on data that may lie open: a researcher's own, public or made up.

Real sites, real noise, real masks; only the ledger is one in memory. What it cannot give is what hospitals have: their
patients. Its figures with and without privacy stand side by side because the data is the researcher's to pool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from twinward.core.clock import Clock
from twinward.core.errors import BadInput
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.coordinator import Coordinator, Progress, TrainedStudy
from twinward.federation.errors import DataInvalid
from twinward.federation.evaluation.anomaly_injection import Anomaly, LabelledStays, inject_anomalies
from twinward.federation.evaluation.benchmark import Benchmark, Origin
from twinward.federation.local_ledger import LocalLedger
from twinward.federation.site import HospitalSite
from twinward.federation.stays.patient_data import PatientData
from twinward.federation.stays.sources import HeldStays, deal_held
from twinward.federation.study import StudyProtocol

TEST_SHARE: Final = 0.25
OWN_DATA: Final = "the researcher's own data"


def simulate(
    study: StudyProtocol,
    stays: Mapping[str, HeldStays],
    benchmark: Benchmark,
    clock: Clock,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> TrainedStudy:
    """Train over the protocol's hospitals, each a site in this process with its own share of the stays.

    Raises:
        BadInput: the stays are not the protocol's hospitals', or the benchmark cannot measure it.

    And as ``Coordinator.run``.
    """
    if set(stays) != set(study.hospitals):
        raise BadInput(f"stays are wanted for {', '.join(study.hospitals)}", hint="deal_out gives each its share")
    identities = {name: HospitalIdentity.generate(name) for name in study.hospitals}
    roster = {name: identity.public_key for name, identity in identities.items()}
    ledger = LocalLedger()
    sites = [
        HospitalSite(
            identity,
            roster,
            stays[name],
            reservations=ledger,
            answered=AnsweredRounds(Path(":memory:")),
        )
        for name, identity in identities.items()
    ]
    try:
        return Coordinator(sites, ledger, ledger, clock, progress=progress).run(study, benchmark)
    finally:
        for site in sites:
            site.close()


def deal_out(study: StudyProtocol, stays: HeldStays, seed: int = 0) -> dict[str, HeldStays]:
    """The protocol's hospitals, each with a share. Raises ``BadInput``: fewer stays than hospitals."""
    return dict(zip(study.hospitals, deal_held(stays, len(study.hospitals), seed), strict=True))


def prepare(data: PatientData, seed: int = 0, *, test: PatientData | None = None) -> tuple[HeldStays, Benchmark]:
    """What to train on, and what to measure on, of data that may lie open.

    Three quarters are trained on, without those labelled anomalies: a detector learns what is usual. Measured is on
    the rest, or on ``test`` if it is given: by its labels; without labels a fifth of it is tampered with.

    Raises:
        DataInvalid: too few patients, or no anomaly (or nothing else) among those to be measured on.
    """
    training, held = data.split(1 - TEST_SHARE, seed) if test is None else (data, test)
    if training.labels is not None:
        training = training.take(~training.labels)
    measured = labelled(held, seed)
    if not len(training) or measured.labels.all() or not measured.labels.any():
        raise DataInvalid("to measure, there must be anomalies and others", hint="give more patients, or no labels")
    benchmark = Benchmark(OWN_DATA, Origin.OWN, measured, training.stays, training.groups)
    return HeldStays(training.stays, training.groups), benchmark


def labelled(data: PatientData, seed: int = 0) -> LabelledStays:
    """Patients with their own labels; without any, a fifth of them is tampered with. Raises ``BadInput``: one alone."""
    if data.labels is None:
        made = inject_anomalies(data.stays, seed, signals=data.signals)
        return LabelledStays(made.stays, made.kinds, data.signals, data.groups)
    kinds = tuple(Anomaly.LABELLED if found else Anomaly.NONE for found in data.labels.tolist())
    return LabelledStays(data.stays, kinds, data.signals, data.groups)
