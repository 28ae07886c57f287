"""Step 5: three hospitals train one anomaly detector under patient-level differential privacy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from twinward.access.interfaces import AccessContext
from twinward.core.ids import uuid7
from twinward.core.vocabulary import Category, Purpose, TwinId
from twinward.demo.accounts import OFFICER, RESEARCHER
from twinward.demo.display import Display
from twinward.demo.querying import RESEARCH_YES
from twinward.demo.result import Curve, TrainedModel, Training
from twinward.features.monitored_stays import Stays, encode_stay, load_stays
from twinward.federation.coordinator import Progress
from twinward.federation.evaluation.benchmark import Benchmark, Measured, synthetic_benchmark
from twinward.federation.models import COHORT
from twinward.federation.privacy.accountant import spent_epsilon
from twinward.federation.site import Site
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.stays.sources import deal_stays
from twinward.federation.study import StudyProtocol
from twinward.node import SYSTEM, Node, join_as_peer
from twinward.node.study_approvals import approve_embedded
from twinward.node.study_run import run_study, sites_of
from twinward.twins.ingest.bulk_create import NewPatient, bulk_create
from twinward.twins.models import ImportRecord

STAYS_PER_HOSPITAL: Final = 900
TRAINING_SEED: Final = 2026
PRIVACY_CAP_MICROS: Final = 1_200_000
"""What all studies together may learn of a hospital's stays, in millionths of 1/sigma^2: two studies at epsilon 3."""
BATCH: Final = 100


def train_across_hospitals(
    node: Node, display: Display, twins: tuple[TwinId, ...], *, stays_file: Path | None, epsilon: float
) -> Training:
    """Fill three vaults with monitored stays, train over them, register the model."""
    started = time.perf_counter()
    source, shares = _stays(len(node.settings.witnesses), stays_file)
    names = node.settings.witnesses
    display.begin("5 · monitored stays into three vaults", sum(len(share) for share in shares))
    for name, share in zip(names, shares, strict=True):
        fill_vault(node, name, share, twins, display)
        node.consortium.cap_privacy(name, COHORT, PRIVACY_CAP_MICROS)
    display.finish(f"{sum(len(share) for share in shares)} stays sealed at {', '.join(names)}")

    label = f"demo-{uuid7(node.clock.now_ms())[:13]}"
    studies = (
        ("DP-VAR", StudyProtocol.for_dp_var(f"{label}-var", tuple(names), epsilon=epsilon)),
        ("LSTM autoencoder (Opacus)", StudyProtocol.for_autoencoder(f"{label}-lstm", tuple(names), epsilon=epsilon)),
    )
    # Only made-up stays are pooled in the open, so only then are there figures for training without privacy.
    benchmark = synthetic_benchmark(np.concatenate(shares) if stays_file is None else None)
    with sites_of(node, names, node.accounts.named(RESEARCHER.id)) as sites:
        models = tuple(_train(node, display, sites, title, study, benchmark) for title, study in studies)
    account = node.consortium.budgets.privacy(names[0], COHORT)
    return Training(
        hospitals=tuple(names),
        patients=sum(len(share) for share in shares),
        source=source,
        delta=studies[0][1].delta,
        spent_epsilon=spent_epsilon(account.spent_micros, studies[0][1].delta),
        models=models,
        seconds=time.perf_counter() - started,
    )


def _train(
    node: Node, display: Display, sites: Sequence[Site], title: str, study: StudyProtocol, benchmark: Benchmark
) -> TrainedModel:
    """One study: train, compare, register, keep model and card."""
    started = time.perf_counter()
    display.begin(f"5 · {title}: private training, then the same without privacy", 2 * study.rounds)

    def show(progress: Progress) -> None:
        if progress.stage in ("training", "comparing"):
            display.advance()

    approve_embedded(node, study, node.accounts.named(RESEARCHER.id), AccessContext(OFFICER, Purpose.COMPLIANCE))
    trained = run_study(node, sites, study, benchmark, node.accounts.named(RESEARCHER.id), progress=show)
    auroc, number = trained.comparison.private.auroc, trained.model_number
    display.finish(f"{title}: ε = {trained.plan.epsilon:.2f}, AUROC {auroc:.3f}, registered as model {number}")
    return TrainedModel(
        detector=title,
        epsilon=trained.plan.epsilon,
        noise_multiplier=trained.plan.noise_multiplier,
        rounds=study.rounds,
        clip=study.clip,
        curves=tuple(_curve(measured) for measured in trained.comparison.all()),
        model_number=number,
        model_hash=trained.model.hash().hex(),
        seconds=time.perf_counter() - started,
    )


def _stays(hospitals: int, stays_file: Path | None) -> tuple[str, list[Stays]]:
    """Where the stays come from, and each hospital's share."""
    if stays_file is None:
        training = simulate_stays(hospitals * STAYS_PER_HOSPITAL, TRAINING_SEED)
        return "SYNTHETIC stays", deal_stays(training, hospitals, 0)
    loaded = load_stays(stays_file)
    wanted = min(len(loaded), hospitals * STAYS_PER_HOSPITAL)
    order = np.random.default_rng(0).permutation(len(loaded))[:wanted]
    return f"stays of {stays_file.name}", deal_stays(loaded[order], hospitals, 0)


def fill_vault(node: Node, name: str, share: Stays, twins: tuple[TwinId, ...], display: Display) -> None:
    """One hospital takes its share in: stays of known patients first, then new patients, who consent to research."""
    hospital = node if name == node.settings.tenant else join_as_peer(node, name)
    try:
        known = twins[: len(share)] if hospital is node else ()
        hospital.twins.keep_stays(
            AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT),
            [(twin, encode_stay(stay)) for twin, stay in zip(known, share, strict=False)],
        )
        display.advance(len(known))
        for start in range(len(known), len(share), BATCH):
            batch = share[start : start + BATCH]
            patients = [NewPatient(_new_patient(node), encode_stay(stay)) for stay in batch]
            admitted = bulk_create(
                hospital.vault,
                hospital.access,
                hospital.clock,
                AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT),
                patients,
            )
            hospital.access.set_consents(
                AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, (RESEARCH_YES,)) for twin in admitted]
            )
            display.advance(len(batch))
    finally:
        if hospital is not node:
            hospital.close()


def _new_patient(node: Node) -> ImportRecord:
    """A new intensive-care admission of which nothing is known yet but an id."""
    patient_id = uuid7(node.clock.now_ms())
    content = f'{{"resourceType":"Patient","id":"{patient_id}","active":true}}'.encode()
    return ImportRecord(f"Patient/{patient_id}", "Patient", Category.DEMOGRAPHICS, content)


def _curve(measured: Measured) -> Curve:
    return Curve(
        measured.name,
        measured.auroc,
        measured.low,
        measured.high,
        measured.false_positive_rate,
        measured.true_positive_rate,
    )
