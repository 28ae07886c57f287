"""Poisoning: whether a study's groups rank liars above all others, and how often an honest hospital is suspect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.metrics import roc_auc_score

from tests.benchmarks.harness import Benchmark, Figure, Ratio, Row, Scale, Target
from tests.integration.federation.poisoners import ATTACKS, FLIPPED, HONEST, NINE, Attack, released
from twinward.features.monitored_stays import Stays
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import Parameters
from twinward.federation.evaluation.anomaly_injection import inject_anomalies
from twinward.federation.evaluation.benchmark import measure_detector
from twinward.federation.privacy.accountant import plan_for
from twinward.federation.privacy.dp_sum import decode
from twinward.federation.stays.simulated import simulate_signals, simulate_stays
from twinward.federation.study import DetectorKind, StudyProtocol
from twinward.federation.study_file import new_protocol
from twinward.federation.suspicion.suspects import examine
from twinward.federation.suspicion.verdict import sum_without

FIRST_SEED = 8300
_SIZES = tuple(120 + 45 * index for index in range(len(NINE)))
_LIARS = 2


def ranking(scale: Scale) -> list[Row]:
    rows = []
    for kind, attacks in ((DetectorKind.DP_VAR, ATTACKS), (DetectorKind.LOGISTIC, (*ATTACKS, FLIPPED))):
        for attack in attacks:
            rows.append(_ranked(kind, attack, scale.pick(20, 3)))
    if not scale.quick:
        rows += [_ranked(DetectorKind.AUTOENCODER, attack, 2) for attack in (ATTACKS[0], ATTACKS[1], ATTACKS[3])]
    return rows


def false_quarantine(scale: Scale) -> list[Row]:
    rows = []
    for kind in (DetectorKind.DP_VAR, DetectorKind.LOGISTIC):
        suspects = [one.is_suspect for seed in range(scale.pick(60, 6)) for one in _examined(kind, {}, seed)]
        target = Target("false quarantine ≤1%", "value", "most", 1.0)
        high = float(beta.ppf(0.975, sum(suspects) + 1, len(suspects) - sum(suspects)))
        studies = len(suspects) // len(NINE)
        work = f"{kind.value} at ε=1, nine honest hospitals, {studies} studies: share of hospitals suspect"
        figure = Figure(100 * float(np.mean(suspects)), "%", 0.0, 100 * high)
        rows.append(Row(work, figure, target=target, raw={"suspects": sum(suspects), "of": len(suspects)}))
    return rows


def _ranked(kind: DetectorKind, attack: Attack, studies: int) -> Row:
    labels, scores, suspect = list[bool](), list[float](), list[bool]()
    for seed in range(studies):
        chosen = np.random.default_rng(FIRST_SEED + seed).choice(len(NINE), _LIARS, replace=False)
        liars = {NINE[index]: attack for index in chosen}
        for one in _examined(kind, liars, seed):
            labels.append(one.hospital in liars)
            scores.append(one.score)
            suspect.append(one.is_suspect)
    lied, found = np.array(labels), np.array(suspect)
    told = f"suspect: {100 * found[lied].mean():.0f} % of liars, {100 * found[~lied].mean():.1f} % of honest hospitals"
    return Row(
        f"{kind.value} at ε=1, two of nine lie ({attack.name}), {studies} studies: AUROC of the ranking; {told}",
        Figure(float(roc_auc_score(lied, scores)), "AUROC", *_interval(lied, np.array(scores))),
        target=Target("poison ranking ≥0.99", "value", "least", 0.99),
        raw={"lied": labels, "score": scores, "suspect": suspect},
    )


def _interval(lied: NDArray[np.bool_], scores: NDArray[np.float64], draws: int = 2000) -> tuple[float, float]:
    """95 % of the ranking's AUROC, by drawing studies with replacement: hospitals of one study share its noise."""
    studies, random = len(lied) // len(NINE), np.random.default_rng(FIRST_SEED)
    of_study = np.arange(len(lied)).reshape(studies, len(NINE))
    drawn = (of_study[random.integers(studies, size=studies)].ravel() for _ in range(draws))
    low, high = np.percentile([roc_auc_score(lied[one], scores[one]) for one in drawn], [2.5, 97.5])
    return float(low), float(high)


def _examined(kind: DetectorKind, liars: Mapping[str, Attack], seed: int) -> list[Any]:
    study = study_of(kind)
    return examine(study, released(study, _stays(study, seed), liars or {NINE[0]: HONEST}, FIRST_SEED + seed))


def study_of(kind: DetectorKind) -> StudyProtocol:
    """The study that is poisoned: nine hospitals in groups of three."""
    changes: dict[str, Any] = {"group_size": 3, "dropouts": 0, "spare_rounds": 0, "expected_patients": sum(_SIZES)}
    if kind is not DetectorKind.AUTOENCODER:
        changes["rounds"] = 20
    return new_protocol("poisoned", NINE, kind, 1.0, **changes)


def _stays(study: StudyProtocol, seed: int) -> dict[str, Stays]:
    first = 100 * (FIRST_SEED + seed)
    if study.signals.has_outcome:
        return {
            name: simulate_signals(study.signals, size, first + index)
            for index, (name, size) in enumerate(zip(NINE, _SIZES, strict=True))
        }
    return {
        name: simulate_stays(size, first + index, severity=0.3 + 0.05 * index)
        for index, (name, size) in enumerate(zip(NINE, _SIZES, strict=True))
    }


def repaired(scale: Scale) -> list[Row]:
    found: dict[str, list[float]] = {}
    for seed in range(scale.pick(5, 1)):
        for name, auroc in _aurocs(seed).items():
            found.setdefault(name, []).append(auroc)
    first, *others = found.items()
    return [
        Row(f"dp-var at ε=1, nine hospitals: AUROC, {name}", Figure.of(values, "AUROC"), Figure.of(first[1], "AUROC"),
            first[0], Ratio.between(values, first[1], "of"), raw={name: values})
        for name, values in others
    ]  # fmt: skip


def _aurocs(seed: int) -> dict[str, float]:
    """Of the model of one sum of all, of groups, and of groups with two liars, who stay or are left out."""
    study = study_of(DetectorKind.DP_VAR)
    whole = StudyProtocol.for_dp_var("whole", NINE, epsilon=1.0, dropouts=0, expected_patients=sum(_SIZES))
    stays, liars = _stays(study, seed), {"h2": ATTACKS[1], "h7": ATTACKS[1]}
    grouped = released(study, stays, {}, FIRST_SEED + seed)
    ruined = released(study, stays, liars, FIRST_SEED + seed)
    clean = [one for one in ruined if not liars.keys() & set(one.members)]
    plan, test = plan_for(study), inject_anomalies(simulate_stays(1200, 5_000_000 + seed), seed)

    def auroc(of: StudyProtocol, moments: Parameters) -> float:
        return measure_detector("any", build_detector(of), moments, test, of.bins).auroc

    one_sum = released(whole.model_copy(update={"group_size": 9}), stays, {}, FIRST_SEED + seed)[0]
    stayed = np.sum([decode(one.total, study.clip) for one in ruined], axis=0) / study.rounds
    return {
        "one sum of all, all honest": auroc(whole, decode(one_sum.total, whole.clip)),
        "groups of three, all honest": auroc(study, sum_without(study, plan, grouped, [])),
        "two with 10 times the noise, who stay": auroc(study, stayed),
        "the same two, left out by an officer": auroc(study, sum_without(study, plan, clean, list(liars))),
    }


def price(scale: Scale) -> list[Row]:
    from twinward.federation.privacy.accountant import noise_spread

    rows = []
    for size, colluding in ((3, 1), (4, 1), (4, 2)):
        grouped = StudyProtocol.for_dp_var("g", NINE, group_size=size, rounds=20, dropouts=0, colluding=colluding)
        whole = StudyProtocol.for_dp_var("w", NINE, dropouts=0, colluding=colluding)
        louder = noise_spread(grouped, 1225) / math.sqrt(grouped.rounds) / noise_spread(whole, 1225)
        work = f"nine hospitals in groups of {size}, {colluding} colluding: noise of the model against one sum of all"
        rows.append(Row(work, Figure(louder, "times")))
    return rows


BENCHMARKS = (
    Benchmark(
        "federation.poisoning",
        "nine hospitals of 120 to 480 SIMULATED stays in groups of three, 20 rounds (40 of the autoencoder), two of"
        " them liars; real contributions and discrete noise, masks left out (they cancel exactly)",
        ranking,
        in_quick=False,
    ),
    Benchmark(
        "federation.false_quarantine",
        "the same hospitals, all honest; interval by Clopper and Pearson, 95 %",
        false_quarantine,
        in_quick=False,
    ),
    Benchmark(
        "federation.groups",
        "what groups cost a dp-var model in noise at the same ε, from the accountant; nothing is run",
        price,
    ),
)
