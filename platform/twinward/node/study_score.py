"""A registered model over this hospital's twins: who departs, and that written back into the vault.

Scoring is care, not research: it reads one patient and says something about that patient. So it is done in a
clinician's name, for treatment, each read under a permit of its own; what a patient's consent withholds is passed over.
Anomalies are filed as RiskAssessments, one for each twin and model: scoring the same again writes nothing, and a
finding that stands no more is amended. What is filed reaches readers and event streams like any other record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.federation.detectors.model_file import Model
from twinward.federation.disease_groups import NO_GROUP, group_of
from twinward.federation.evaluation.anomaly_finding import Finding, find_anomalies
from twinward.fhir.mapping.risk_assessments import ContributingSignal, ModelProvenance, risk_assessment
from twinward.node.node import Node
from twinward.node.study_source import measured_in, recorded_in
from twinward.twins.models import PERSON_TYPE, ImportRecord, PatientImport
from twinward.twins.read.cohorts import StayReader
from twinward.twins.references import DELETED

_DEMOGRAPHICS: Final = frozenset({Category.DEMOGRAPHICS})


@dataclass(frozen=True, slots=True)
class Scored:
    """A twin, what was found, and what became of the record.

    Attributes:
        twin, finding: whose, and what.
        group: the disease group whose head scored it; ``NO_GROUP`` for none.
        change: ``created``, ``updated``, ``unchanged`` or ``""``.
    """

    twin: TwinId
    finding: Finding
    group: str = NO_GROUP
    change: str = ""


def score_twins(
    node: Node,
    context: AccessContext,
    model: Model,
    number: int,
    thresholds: Mapping[str, float],
    *,
    filing: bool = True,
) -> list[Scored]:
    """Score every twin that may be read, and file what is found.

    Args:
        node: whose twins.
        context: in whose name, and what for.
        model: registered; who calls has held it against the ledger.
        number: the model's on the ledger.
        thresholds: a score above it is an anomaly, by disease group, and by ``NO_GROUP`` of patients of none.
        filing: whether findings are written; without it nothing is.

    Raises:
        AccessDenied: this account may read, or (``filing``) write, no twin for this purpose; it is in the log.
    """
    node.twins.require(context, Action.READ)
    if filing:
        node.twins.require(context, Action.WRITE)
    study = model.study
    reader = StayReader(
        node.twins,
        node.vault,
        node.access,
        context.principal,
        measure=measured_in,
        action=Action.READ,
        purpose=context.purpose,
        detail=context.detail,
    )
    stays = reader.read(study.study_id, study.signals)
    if not stays:
        return []
    groups = [NO_GROUP] * len(stays)
    if study.disease_groups:
        groups = [group_of(facts, study.disease_groups) for facts in reader.conditions(recorded_in)]
    limits = [thresholds[name] for name in groups]
    findings = find_anomalies(model, np.stack(list(stays.values())), limits, groups)
    provenance = ModelProvenance(study.study_id, study.detector.value, number, model.hash().hex())
    scored = [Scored(*one) for one in zip(stays, findings, groups, strict=True)]
    return [_filed(node, context, one, provenance) for one in scored] if filing else scored


def result_id(model_sha256: str, twin: TwinId) -> str:
    """The FHIR id of what a model finds in a twin: one for each pair, which tells neither."""
    return hashlib.sha256(f"twinward/anomaly-result/v1\0{model_sha256}\0{twin}".encode()).hexdigest()[:32]


def _filed(node: Node, context: AccessContext, one: Scored, model: ModelProvenance) -> Scored:
    """The finding, written where it is an anomaly, or where it was one."""
    resource_id = result_id(model.sha256, one.twin)
    kept = node.vault.locate(f"RiskAssessment/{resource_id}") is not None
    patient = _patient_of(node, context, one.twin) if one.finding.is_anomaly or kept else None
    if patient is None:
        return one
    record = risk_assessment(
        resource_id,
        patient,
        model,
        score=one.finding.score,
        threshold=one.finding.threshold,
        signals=_signals(one.finding),
        withdrawn=not one.finding.is_anomaly,
    )
    return Scored(one.twin, one.finding, one.group, _written(node, context, patient, record))


def _written(node: Node, context: AccessContext, patient: str, record: ImportRecord) -> str:
    receipt = node.twins.ingest(context, PatientImport(patient, (record,), source="study score"))
    return receipt.stored[0].change


def _signals(finding: Finding) -> Sequence[ContributingSignal]:
    return [
        ContributingSignal(
            one.signal.title or one.signal.name, one.signal.loinc[0] if one.signal.loinc else "", one.share
        )
        for one in finding.contributions
    ]


def _patient_of(node: Node, context: AccessContext, twin: TwinId) -> str | None:
    """Under which reference a twin's patient is kept; None where consent withholds who that is."""
    request = context.request(Action.READ, twin, _DEMOGRAPHICS)
    for permit in node.access.decide_permitted([request]):
        for records in node.access.opened(permit, lambda held: node.vault.read_twin(held, record_type=PERSON_TYPE)):
            for record in records:
                if record.content == DELETED:
                    continue
                reference = f"{PERSON_TYPE}/{msgspec.json.decode(record.content, type=_Named).id}"
                if node.vault.twins_of([reference]).get(reference) == twin:
                    return reference
    return None


class _Named(msgspec.Struct):
    id: str = ""
