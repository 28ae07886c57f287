"""Registered models put to work on live twins: what scores is federation's, what is scored is live's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from twinward.access.interfaces import AccessContext, Permit
from twinward.core.clock import iso
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.features.codes import Recorded
from twinward.features.derivation import Measurement
from twinward.features.monitored_stays import Stay
from twinward.features.signal_schema import SignalSchema
from twinward.federation.detectors.model_file import Model
from twinward.federation.disease_groups import NO_GROUP, group_of
from twinward.federation.evaluation.anomaly_finding import find_anomalies
from twinward.fhir.search.facets import wanted_by
from twinward.fhir.search.live import OBSERVATION
from twinward.fhir.search.parameters import parameters_of
from twinward.fhir.search.query import Query
from twinward.live.scoring.models import Judgement, Scoring
from twinward.live.scoring.service import LiveScoring
from twinward.node.node import Node
from twinward.node.registered_models import kept_model
from twinward.node.study_source import measured_in, recorded_in
from twinward.twins.models import CONDITION_TYPE
from twinward.vault.interfaces import RecordVault


@dataclass(frozen=True)
class RegisteredScorer:
    """A model of this hospital's folder, the one that the ledger registered."""

    node: Node
    model: Model
    thresholds: dict[str, float]

    @property
    def schema(self) -> SignalSchema:
        """What its stays are made of."""
        return self.model.study.signals

    def judge(self, context: AccessContext, twin: TwinId, stay: Stay) -> Judgement:
        """Score one stay; a model with heads takes the patient's Conditions, read under a permit of their own."""
        group = self._group(context, twin) if self.model.study.disease_groups else NO_GROUP
        (found,) = find_anomalies(self.model, np.stack([stay]), [self.thresholds[group]], [group])
        return Judgement(found.score, found.threshold, {one.signal.name: one.share for one in found.contributions})

    def _group(self, context: AccessContext, twin: TwinId) -> str:
        study = self.model.study
        asked = context.request(Action.READ, twin, {Category.CONDITIONS}, detail=(("study", study.study_id),))
        access, vault = self.node.access, self.node.vault
        records = [
            record
            for permit in access.decide_permitted([asked])
            for some in access.opened(permit, lambda held: vault.read_twin(held, record_type=CONDITION_TYPE))
            for record in some
        ]
        facts = (fact for record in records for fact in recorded_in(record))
        return group_of({one.code for one in facts if one.value == Recorded.CURRENT}, study.disease_groups)


def charted_in(vault: RecordVault, permit: Permit, begin_ms: int, end_ms: int) -> list[Measurement]:
    """What Observations on record say was measured from one moment up to another, as far as a permit covers them."""
    date = parameters_of(OBSERVATION)["date"]
    dates = (("date", date, f"ge{iso(begin_ms)}"), ("date", date, f"lt{iso(end_ms)}"))
    wanted = wanted_by(Query(OBSERVATION, filters=dates))
    found = [] if wanted is None else [record for _, record in vault.search_twin(permit, wanted)]
    return [one for record in found for one in measured_in(record)]


def live_scoring(node: Node) -> LiveScoring:
    """Scoring of a node's live twins by its registered models."""

    def scorer_of(one: Scoring) -> RegisteredScorer:
        return RegisteredScorer(node, kept_model(node, one.study, bytes.fromhex(one.model)), one.thresholds)

    live = node.live
    charted = partial(charted_in, node.vault)
    return LiveScoring(live.parts, live.reader, live.watch, scorer_of, node.accounts.named, charted)
