"""Studies that a hospital is invited to: what approving means, how each stands, and what studies took of the budget.

The console and the command line say the same, in the same words. Costs are in millionths of 1/σ².
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from twinward.consortium.membership import refusals_told
from twinward.core.sentences import Sentence, counted, sentence
from twinward.features.signal_schema import ICU
from twinward.federation.approval import Decision
from twinward.federation.errors import NotApproved
from twinward.federation.invitation import Invitation, fingerprint_of
from twinward.federation.models import COHORT
from twinward.federation.privacy.accountant import PrivacyPlan, plan_for
from twinward.federation.study import StudyProtocol
from twinward.node import Node
from twinward.node.study_approvals import member
from twinward.node.study_inbox import Received, StudyInbox
from twinward.overview.external_use import MICROS, privacy_left, studies_by_card
from twinward_contracts.bindings import ReservationState
from twinward_contracts.names import name_id

MOST_CHARGES: Final = 100
"""Of a hospital, the newest; the chain has all."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One hospital's privacy budget."""

    hospital: str
    left: int
    cost: int

    @property
    def reaches(self) -> bool:
        """Whether it pays."""
        return self.left >= self.cost


@dataclass(frozen=True, slots=True)
class StudyTerms:
    """What approving an invitation means.

    Attributes:
        words: sentences.
        keys: the fingerprint of each hospital's study key, for officers to read to each other.
        plan: the privacy.
        budgets: of the hospitals that are asked.
    """

    words: tuple[str, ...]
    keys: Mapping[str, str]
    plan: PrivacyPlan
    budgets: tuple[Budget, ...]


class StudyState(StrEnum):
    """How an invitation stands at a hospital."""

    WAITING = "waiting"
    APPROVED = "approved"
    WITHDRAWN = "withdrawn"
    REPLACED = "replaced"
    """Of the same protocol another invitation was decided on since."""
    UNFINISHED = "unfinished"
    """The log says approved, and the approval was not kept: it is given once more."""


@dataclass(frozen=True, slots=True)
class InvitedStudy:
    """An invitation, and the newest decision on its protocol."""

    received: Received
    state: StudyState
    decision: Decision | None


@dataclass(frozen=True, slots=True)
class Charge:
    """What one study took of a hospital's budget, and what was left then, under the cap of today.

    Attributes:
        number: the reservation's.
        study: its name, or the beginning of its fingerprint where this node knows no more.
        micros, left: the cost, and what was left after it.
        state: reserved, committed or burned.
    """

    number: int
    study: str
    micros: int
    left: int
    state: str


def budgets_of(node: Node, study: StudyProtocol, plan: PrivacyPlan) -> list[Budget]:
    """What each hospital of a protocol may still spend, and what it would. Raises ``Conflict``, ``Unavailable``."""
    left = privacy_left(node, study.hospitals)
    return [Budget(name, left[name], plan.inverse_variance_micros) for name in study.hospitals]


def terms_of(node: Node, invitation: Invitation, hospitals: Sequence[str]) -> StudyTerms:
    """What approving means for some of an invitation's hospitals. Raises ``Conflict``, ``Unavailable``: the chain."""
    study = invitation.study
    plan = plan_for(study)
    budgets = tuple(one for one in budgets_of(node, study, plan) if one.hospital in hospitals)
    words = [
        sentence(
            "{study_id}: {coordinator} asks to train {detector} in the name of {researcher}, with {hospitals}",
            study_id=study.study_id,
            coordinator=invitation.coordinator,
            detector=study.detector.value,
            researcher=invitation.researcher,
            hospitals=", ".join(study.hospitals),
        ),
        sentence(
            "who: every patient of {hospitals} who consents to research and has {kept}; their number is told to nobody",
            hospitals=", ".join(hospitals),
            kept=_kept(study),
        ),
        sentence(
            "what is read of them: {count} signals ({name}): {signals}",
            count=len(study.signals.signal),
            name=study.signals.name,
            signals=", ".join(one.title or one.name for one in study.signals.signal),
        ),
        counted(
            "what leaves: {count} sum leaves each hospital, masked and with noise; no record, no count",
            "what leaves: {count} sums leave each hospital, masked and with noise; no record, no count",
            study.rounds,
        ),
        *_of_groups(study),
        *_of_disease_groups(study),
        sentence(
            "what it may tell: whoever sees the model can raise the odds that one patient took part at most "
            "{odds}-fold (ε = {epsilon}), but for a chance of {delta} (δ)",
            odds=f"{math.exp(plan.epsilon):.2f}",
            epsilon=f"{plan.epsilon:.4f}",
            delta=f"{plan.delta:g}",
        ),
        _of_several_hospitals(study.hospitals_per_patient),
        counted(
            "this holds as long as at most {count} hospital pools what they know",
            "this holds as long as at most {count} hospitals pool what they know",
            study.colluding,
        ),
    ]
    words += [_cost(one) for one in budgets]
    keys = {name: fingerprint_of(invitation.roster[name]) for name in study.hospitals}
    return StudyTerms(tuple(words), keys, plan, budgets)


def _of_several_hospitals(most: int) -> Sentence:
    if most == 1:
        return sentence("for a patient of several hospitals this holds at each by itself, not for all together")
    return sentence("this holds for whoever is a patient of up to {most} of the hospitals, for all together", most=most)


def _cost(one: Budget) -> Sentence:
    """What it takes of a hospital's budget."""
    enough = sentence("{left} would be left", left=f"{(one.left - one.cost) / MICROS:.6f}")
    return sentence(
        "what it costs {hospital}: {cost} of its patients' privacy budget, for ever; it has {present}, {left}",
        hospital=one.hospital,
        cost=f"{one.cost / MICROS:.6f}",
        present=f"{one.left / MICROS:.6f}",
        left=enough if one.reaches else sentence("that is NOT ENOUGH"),
    )


def invited_studies(node: Node) -> list[InvitedStudy]:
    """Every invitation to this home's own hospital, the newest first. Raises ``Unavailable``, ``LogTampered``."""
    return [invited(node, one) for one in StudyInbox(node.settings.home).all()]


def invited(node: Node, received: Received) -> InvitedStudy:
    """How one stands now. Raises as ``invited_studies``."""
    fingerprint = received.invitation.study.fingerprint()
    decision = node.study_decisions.newest(fingerprint)
    if decision is None:
        return InvitedStudy(received, StudyState.WAITING, None)
    if not decision.approved:
        return InvitedStudy(received, StudyState.WITHDRAWN, decision)
    if decision.invitation not in ("", received.digest):
        return InvitedStudy(received, StudyState.REPLACED, decision)
    try:
        with member(node, node.settings.tenant) as own:
            own.approvals().of(fingerprint)
    except NotApproved:
        return InvitedStudy(received, StudyState.UNFINISHED, decision)
    return InvitedStudy(received, StudyState.APPROVED, decision)


def charges(node: Node) -> tuple[Charge, ...]:
    """What studies took of this hospital's own budget, the newest first. Raises ``Conflict``, ``Unavailable``."""
    own = name_id(node.settings.tenant)
    names = _names(node)
    found: list[Charge] = []
    with refusals_told():
        budgets = node.consortium.budgets
        account = budgets.privacy(node.settings.tenant, COHORT)
        left = account.cap_micros - account.spent_micros - account.reserved_micros
        for number in range(budgets.count_reservations(), 0, -1):
            one = budgets.reservation(number)
            if own not in one.hospital_ids or one.cohort_id != name_id(COHORT):
                continue
            state = ReservationState(one.state).name.lower()
            study = names.get(one.study_id, f"{one.study_id.hex()[:16]}…")
            found.append(Charge(number, study, one.micros, max(0, left), state))
            left += one.micros
            if len(found) == MOST_CHARGES:
                break
    return tuple(found)


def _names(node: Node) -> dict[bytes, str]:
    """Studies by their fingerprint, as far as this node knows them: of invitations, and of models that it keeps."""
    known = {one.invitation.study.fingerprint(): one.invitation.study for one in StudyInbox(node.settings.home).all()}
    names = {fingerprint: study.study_id for fingerprint, study in known.items()}
    cards = studies_by_card(node)
    with refusals_told():
        registry = node.consortium.models
        models = [registry.model(number) for number in range(registry.count(), 0, -1)][:MOST_CHARGES]
    return {one.study_id: cards[one.card_hash] for one in models if one.card_hash in cards} | names


def _of_disease_groups(study: StudyProtocol) -> list[Sentence]:
    if not study.disease_groups:
        return []
    named = "; ".join(f"{one.name} ({', '.join(one.codes) or 'no codes: nobody here'})" for one in study.disease_groups)
    return [
        sentence(
            "and their conditions on record, for groups whose patients train a head of their own: {named}; who is in "
            "which is told to nobody",
            named=named,
        )
    ]


def _kept(study: StudyProtocol) -> Sentence:
    """What of a patient a hospital's site makes a stay of (``StayReader.read``)."""
    ways = [sentence("a monitored stay")] if study.signals == ICU else []
    ways += [sentence("vital signs or laboratory results")] if study.signals.reads_fhir else []
    if len(ways) == 2:
        return sentence("{one}, or {other}", one=ways[0], other=ways[1])
    return ways[0] if ways else sentence("signals that no hospital keeps")


def _of_groups(study: StudyProtocol) -> list[Sentence]:
    """What else it means where the sums of groups are opened."""
    if not study.group_size:
        return []
    return [
        sentence(
            "sums of groups of {group_size} hospitals or more are opened, so that who ruins them is told: over "
            "the rounds, a hospital's own averages are told apart as far as the noise lets; a patient is hidden "
            "as said above",
            group_size=study.group_size,
        )
    ]
