"""How good private detectors are beside everything plain, at which ε: real discrete noise, five seeds, intervals.

Public sets of ``TWINWARD_STUDY_DATA`` (or ``../shared/data``) where they are; a simulated one always. Each figure is
kept in ``build/quality-cells.jsonl`` as it comes; ``TWINWARD_QUALITY_S`` bounds a run, and the next goes on.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from scipy.stats import t as student_t
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from tests.benchmarks.federation import one_torch_thread
from tests.benchmarks.harness import Benchmark, Figure, Ratio, Row, Scale, Target
from tests.benchmarks.kept_cells import KeptCells, TimeOver
from tests.integration.federation.kit import HOSPITALS
from tests.tools import ROOT
from twinward.features.monitored_stays import Stays, load_stays
from twinward.features.signal_schema import ICU, ICU_OUTCOME, SignalSchema, table_schema
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import Blocks, Parameters, normalise
from twinward.federation.evaluation.anomaly_injection import Anomaly, LabelledStays, inject_anomalies
from twinward.federation.evaluation.benchmark import train_without_privacy
from twinward.federation.privacy.accountant import multiplier_of
from twinward.federation.privacy.dp_sum import add_noise, clipped_sum, decode, noise_variance
from twinward.federation.privacy.outlook import outlook
from twinward.federation.stays.simulated import simulate_signals
from twinward.federation.study import DetectorKind, StudyProtocol

DATA = Path(os.environ.get("TWINWARD_STUDY_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SEEDS = 5
FIRST_SEED = 7100


@dataclass(frozen=True)
class DataSet:
    """Stays to train on, and labelled ones to measure on."""

    name: str
    train: Stays
    test: LabelledStays

    def protocol(self, kind: DetectorKind, epsilon: float, patients: int) -> StudyProtocol:
        make = {
            DetectorKind.DP_VAR: StudyProtocol.for_dp_var,
            DetectorKind.AUTOENCODER: StudyProtocol.for_autoencoder,
            DetectorKind.LOGISTIC: StudyProtocol.for_logistic,
        }[kind]
        return make("quality", HOSPITALS, epsilon=epsilon, signals=self.test.signals, expected_patients=patients)


def _split(name: str, stays: Stays, signals: SignalSchema, share: float = 0.7) -> DataSet:
    order = np.random.default_rng(0).permutation(len(stays))
    cut = int(share * len(stays))
    test = inject_anomalies(stays[order[cut:]], FIRST_SEED, signals=signals)
    return DataSet(name, stays[order[:cut]], test)


def _table(name: str, rows: np.ndarray, labels: np.ndarray) -> DataSet:
    """A table of public rows. Its limits are percentiles: public data's own, which no study of patients may use."""
    low, high = np.percentile(rows, [10, 90], axis=0)
    high = np.maximum(high, low + 1e-3)
    limits = {f"c{index}": (float(low[index]), float(high[index])) for index in range(rows.shape[1])}
    signals = table_schema(name, limits)
    order = np.random.default_rng(0).permutation(len(rows))
    stays, found = rows[order].astype(np.float32)[:, None, :], labels[order]
    cut = int(0.7 * len(rows))
    kinds = tuple(Anomaly.LABELLED if one else Anomaly.NONE for one in found[cut:])
    return DataSet(name, stays[:cut], LabelledStays(stays[cut:], kinds, signals))


def icu_sets() -> Iterator[DataSet]:
    path = DATA / "icu-stays-2012.npz"
    if not path.is_file():
        return
    stays = load_stays(path)
    yield _split("ICU", stays, ICU)
    with np.load(path) as arrays:
        died = np.concatenate([arrays["Ya"], arrays["Yb"]]).astype(np.float32)
    outcome = np.broadcast_to(died[:, None, None], (*stays.shape[:2], 1))
    yield _split("ICU, death", np.concatenate([stays, outcome], axis=2), ICU_OUTCOME)


def tables() -> Iterator[DataSet]:
    for file, name in (("38_thyroid", "thyroid"), ("43_WDBC", "wdbc"), ("4_breastw", "breastw")):
        path = DATA / "adbench" / f"{file}.npz"
        if path.is_file():
            with np.load(path) as arrays:
                yield _table(name, arrays["X"], arrays["y"].ravel() == 1)
    path = DATA / "medical-csv" / "pima-indians-diabetes.csv"
    if path.is_file():
        rows = np.genfromtxt(path, delimiter=",")
        rows = rows[~np.isnan(rows).any(1)]
        yield _table("pima", rows[:, :-1], rows[:, -1] == 1)


def simulated_sets() -> list[DataSet]:
    return [
        _split("simulated ICU", simulate_signals(ICU, 3600, FIRST_SEED), ICU, 0.75),
        _split("simulated, death", simulate_signals(ICU_OUTCOME, 3600, FIRST_SEED), ICU_OUTCOME, 0.75),
    ]


def trained(study: StudyProtocol, blocks: Blocks, honest: int | None = None) -> Parameters:
    """Over all patients at once with the noise of all hospitals: the same law as over sites, whose masks cancel.

    ``honest`` is how many hospitals' noise keeps the promise; of 1 each hospital's sum keeps it alone, unmasked.
    """
    detector = build_detector(study)
    learner = detector.learner()
    variance = noise_variance(multiplier_of(study), detector.dimension, honest or study.honest)
    for _ in range(study.rounds):
        total = clipped_sum(detector.contributions(learner.parameters, blocks), study.clip, detector.dimension)
        for _ in study.hospitals:
            total = add_noise(total, variance, os.urandom)
        learner.learn(decode(total, study.clip))
    return learner.parameters


def auroc(data: DataSet, study: StudyProtocol, parameters: Parameters, *, in_the_open: bool = False) -> float:
    blocks = normalise(data.test.stays, study.bins, study.signals)
    scores = build_detector(study, in_the_open=in_the_open).scores(parameters, blocks)
    return float(roc_auc_score(data.test.labels, scores))


def plain_rivals(data: DataSet, kinds: Sequence[DetectorKind], patients: int, cells: KeptCells) -> dict[str, float]:
    """AUROC of everything without privacy: each kind of detector, and IsolationForest."""
    found = {}
    for kind in kinds:
        study = data.protocol(kind, 1.0, patients)

        def openly(study: StudyProtocol = study) -> float:
            blocks = normalise(data.train[:patients], study.bins, study.signals)
            parameters = train_without_privacy(build_detector(study, in_the_open=True), blocks, study.rounds)
            return auroc(data, study, parameters, in_the_open=True)

        found[kind.value] = cells.value(f"{data.name}, {patients} patients, {kind.value} openly", openly)

    def forest() -> float:
        train, test = (normalise(one, study.bins, study.signals) for one in (data.train[:patients], data.test.stays))
        grown = IsolationForest(random_state=0).fit(train.reshape(len(train), -1))
        return float(roc_auc_score(data.test.labels, -grown.score_samples(test.reshape(len(test), -1))))

    if not data.test.signals.has_outcome:
        found["IsolationForest"] = cells.value(f"{data.name}, {patients} patients, IsolationForest", forest)
    return found


def quality_row(
    data: DataSet, kind: DetectorKind, patients: int, rivals: dict[str, float], least: float, cells: KeptCells
) -> Row:
    study = data.protocol(kind, 1.0, patients)
    name = f"{data.name}, {patients} patients, {study.fingerprint().hex()}"

    def privately() -> float:
        blocks = normalise(data.train[:patients], study.bins, study.signals)
        return auroc(data, study, trained(study, blocks))

    private = [cells.value(f"{name}, draw {number}", privately) for number in range(SEEDS)]
    half = float(student_t.ppf(0.975, SEEDS - 1)) * stdev(private) / math.sqrt(SEEDS)
    best = max(rivals, key=lambda name: rivals[name])
    untrained = auroc(data, study, build_detector(study).untrained())
    said = f"{data.name}, {patients} patients, {kind.value} at ε=1: {mean(private):.3f} ± {half:.3f}; untrained"
    return Row(
        f"{said} {untrained:.3f}, signal/noise {outlook(study).signal_to_noise:.1f}",
        Figure.of(private, "AUROC"),
        Figure.of([rivals[best]], "AUROC"),
        f"best plain of {len(rivals)}: {best}",
        Ratio.between(private, [rivals[best]] * SEEDS, "of"),
        Target(f"≥{least:g} of the best plain", "ratio", "least", least),
        {"private": private, "plain": rivals, "untrained": untrained},
    )


def quality(scale: Scale) -> list[Row]:
    within = os.environ.get("TWINWARD_QUALITY_S")
    sources = (ROOT / "platform/twinward/federation/detectors", ROOT / "platform/twinward/federation/privacy")
    cells = KeptCells(ROOT / "build/quality-cells.jsonl", sources, float(within) if within else None)
    rows, left, wanted = [], [], list(_wanted())
    with one_torch_thread():
        for data, kind, patients in wanted:
            with suppress(TimeOver):  # all that is quick, before any row waits for an autoencoder
                if kind is not DetectorKind.AUTOENCODER:
                    quality_row(data, kind, patients, plain_rivals(data, [kind], patients, cells), 0, cells)
        for data, kind, patients in wanted:
            try:
                rows.append(_measured(data, kind, patients, cells))
            except TimeOver:
                left.append(f"{data.name}, {patients} patients, {kind.value}")
    if left:
        rows.append(Row(f"left for the next run: {'; '.join(left)}", Figure.of([float(len(left))], "rows")))
    return rows


def _wanted() -> Iterator[tuple[DataSet, DetectorKind, int]]:
    """What is measured, the quick first: an autoencoder takes as long as all others."""
    sets = [*icu_sets(), *tables(), *simulated_sets()]
    for data in sets:
        stays = data.test.signals.steps > 1
        for patients in sorted({900, 2700, len(data.train)} if stays else {len(data.train)}):
            if patients <= len(data.train):
                death = data.test.signals.has_outcome
                yield data, DetectorKind.LOGISTIC if death else DetectorKind.DP_VAR, patients
    for data in sets:
        if data.test.signals.steps > 1 and not data.test.signals.has_outcome and len(data.train) >= 2700:
            yield data, DetectorKind.AUTOENCODER, 2700


def _measured(data: DataSet, kind: DetectorKind, patients: int, cells: KeptCells) -> Row:
    """A row; an autoencoder is held against itself in the open, all others against the best of all."""
    rivals = plain_rivals(data, [kind], patients, cells)
    if kind is DetectorKind.AUTOENCODER:
        rivals = {kind.value: rivals[kind.value]}
    elif kind is DetectorKind.DP_VAR and data.test.signals.steps > 1:
        with suppress(TimeOver):
            rivals |= plain_rivals(data, [DetectorKind.AUTOENCODER], patients, cells)
    least = 0.98 if kind is DetectorKind.DP_VAR and patients >= 2500 else 0.95
    return quality_row(data, kind, patients, rivals, least, cells)


def own_noise(scale: Scale) -> list[Row]:
    """What it would cost if each hospital's own noise hid its patients, and sums were added up in the open."""
    five = tuple("abcde")
    rows = []
    for data in icu_sets():
        death = data.test.signals.has_outcome
        make = StudyProtocol.for_logistic if death else StudyProtocol.for_dp_var
        for patients in (900, 2700, len(data.train)):
            study = make("own-noise", five, signals=data.test.signals, expected_patients=patients)
            blocks = normalise(data.train[:patients], study.bins, study.signals)
            ours, own = (
                [auroc(data, study, trained(study, blocks, honest)) for _ in range(SEEDS)] for honest in (None, 1)
            )
            gain = [one - other for one, other in zip(ours, own, strict=True)]
            half = float(student_t.ppf(0.975, SEEDS - 1)) * stdev(gain) / math.sqrt(SEEDS)
            rows.append(
                Row(
                    f"{data.name}, {patients} patients, {study.detector.value} at ε=1, five hospitals: "
                    f"{mean(gain):+.3f} ± {half:.3f}",
                    Figure.of(ours, "AUROC"),
                    Figure.of(own, "AUROC"),
                    "each hospital's own noise",
                    raw={"shared": ours, "own": own},
                )
            )
    return rows


def refusals(scale: Scale) -> list[Row]:
    """Whether the rule refuses what ends below no learning, and keeps what learns."""
    cases, wrong = [], []
    for data in [*icu_sets(), *tables(), *simulated_sets()]:
        kind = DetectorKind.LOGISTIC if data.test.signals.has_outcome else DetectorKind.DP_VAR
        for patients in (100, 300, 900, 2700):
            for epsilon in (0.3, 1.0, 3.0):
                if patients > len(data.train):
                    continue
                study = data.protocol(kind, epsilon, patients)
                blocks = normalise(data.train[:patients], study.bins, study.signals)
                open_detector = build_detector(study, in_the_open=True)
                plain = auroc(data, study, train_without_privacy(open_detector, blocks, 1), in_the_open=True)
                nothing = auroc(data, study, open_detector.untrained())
                private = mean(auroc(data, study, trained(study, blocks)) for _ in range(3))
                # Where learning openly does no good, no rule can help.
                should_learn = plain > nothing + 0.01 and outlook(study).worthwhile
                if should_learn and private < nothing:  # three draws may be bad luck
                    private = mean(auroc(data, study, trained(study, blocks)) for _ in range(40))
                case = (data.name, patients, epsilon, outlook(study).signal_to_noise, private, nothing, plain)
                cases.append(case)
                if should_learn and private < nothing:
                    wrong.append(case)
    refused = [case for case in cases if case[3] < 2]
    work = (
        f"studies kept that end below no learning, of {len(cases)} ({len(refused)} refused), public and simulated sets"
    )
    target = Target("none", "value", "most", 0)
    return [Row(work, Figure.of([float(len(wrong))], "kept"), target=target, raw={"cases": cases, "wrong": wrong})]


BENCHMARKS = (
    Benchmark(
        "studies.own_noise",
        "AUROC at ε=1, noise shared under masks, beside hospitals that each hide their patients by noise of their own;"
        " five draws, difference with its interval (95 %, Student)",
        own_noise,
        in_quick=False,
    ),
    Benchmark(
        "studies.quality",
        "AUROC at ε=1 with real discrete noise beside the best plain detector; tampering, labels of ADBench, death",
        quality,
        in_quick=False,
    ),
    Benchmark("studies.outlook", "what the rule of public n and ε refuses, ε .3 to 3", refusals, in_quick=False),
)
