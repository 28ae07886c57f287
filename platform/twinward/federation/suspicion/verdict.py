"""What becomes of a study's sums once its groups were looked at: a model, or a question to an officer.

Nothing here decides about a hospital. While somebody is suspect whom no officer looked at, there is no model. Who was
cleared stays. Who was quarantined is left out, and at no cost: a detector whose rounds repeat one sum is made of the
sums that the hospital is in none of. Weights that moved along a hospital's gradients cannot be moved back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import numpy as np

from twinward.federation.aggregation.plausibility import fault_of, require_plausible
from twinward.federation.detectors.detector import Detector, Parameters
from twinward.federation.errors import PoisonSuspected, Quarantined, SumImplausible
from twinward.federation.privacy.accountant import PrivacyPlan
from twinward.federation.privacy.dp_sum import UNIT, noise_variance
from twinward.federation.study import StudyProtocol
from twinward.federation.study_journal import Review, StudyJournal
from twinward.federation.suspicion.suspects import WORDS, GroupSum, Suspicion, examine, told_of

_MOST_STEPS: Final = float(2**62)


def group_sums_of(journal: StudyJournal) -> list[GroupSum]:
    """The sums of groups that a journal holds."""
    return [GroupSum(*one) for one in journal.group_sums()]


def examined(study: StudyProtocol, journal: StudyJournal) -> list[Suspicion]:
    """Every hospital that is not quarantined, the most suspect first, by the sums without those that are."""
    return examine(study, _without(group_sums_of(journal), journal.reviews()))


def reviewed_model(
    study: StudyProtocol, plan: PrivacyPlan, detector: Detector, journal: StudyJournal, learnt: Parameters
) -> Parameters:
    """The parameters of a study in groups, once all rounds are there.

    Args:
        study: the protocol.
        plan: its privacy.
        detector: what is trained.
        journal: its sums, and what officers decided.
        learnt: what was learnt round by round.

    Raises:
        PoisonSuspected: somebody is suspect whom no officer looked at. Nothing is burned: it goes on once one did.
        Quarantined: what is left without the quarantined makes no model.
        SumImplausible: a sum cannot be of patients, and nobody is suspect for it.
    """
    reviews = journal.reviews()
    require_decided(study, examined(study, journal), reviews)
    sums = _without(group_sums_of(journal), reviews)
    if not all(_is_plausible(study, plan, one) for one in sums):
        raise SumImplausible(
            f"a group's sum in {study.study_id} is of no patients, and its groups do not tell who sent it",
            hint="no model is made of it; run with other hospitals",
        )
    out = sorted(name for name, one in reviews.items() if one.quarantined)
    if not study.repeats:
        if out:
            raise_quarantined(study, out, "its weights moved along what they sent")
        return learnt
    learner = detector.learner()
    learner.learn(sum_without(study, plan, sums, out))
    return learner.parameters


def require_decided(study: StudyProtocol, found: Sequence[Suspicion], reviews: Mapping[str, Review]) -> None:
    """Raise ``PoisonSuspected`` where somebody is suspect whom no officer looked at."""
    open_ones = [one for one in found if one.is_suspect and one.hospital not in reviews]
    if open_ones:
        told = "; ".join(f"{one.hospital} {WORDS[one.grounds[0]]}" for one in open_ones)
        raise PoisonSuspected(
            f"no model is made of {study.study_id} before an officer looked at this: {told}",
            hint="`twinward study suspects FILE` shows it; `twinward study quarantine FILE HOSPITAL --as OFFICER "
            "--reason WORDS` leaves a hospital out, with --clear it stays; then run the study again",
        )


def raise_quarantined(study: StudyProtocol, names: Sequence[str], why: str) -> NoReturn:
    """Raise ``Quarantined``."""
    raise Quarantined(
        f"{study.study_id} ends: {', '.join(names)} {'is' if len(names) == 1 else 'are'} quarantined, and {why}",
        hint="a new study without them, under a new study_id, has a cost of its own",
    )


def sum_without(study: StudyProtocol, plan: PrivacyPlan, sums: Sequence[GroupSum], out: Sequence[str]) -> Parameters:
    """The sum over all hospitals but those left out, of all rounds together, in the units of contributions.

    Args:
        study: the protocol.
        plan: its privacy.
        sums: of groups, none of which a hospital that is left out is in.
        out: whom.

    Raises:
        Quarantined: the sums do not hold all others.
        SumImplausible: no patients add up to it.
    """
    hospitals = [name for name in study.hospitals if name not in out]
    if not sums:
        raise_quarantined(study, out, "no sum is left without them")
    share = noise_variance(plan.noise_multiplier, len(sums[0].total), study.honest) / UNIT**2
    told = told_of(sums, hospitals, share, len(sums[0].total))
    if not told.known.all():
        raise_quarantined(study, out, "the sums left without them do not hold all others")
    total = told.means.sum(0)
    require_plausible(study, plan, np.rint(np.clip(total * UNIT, -_MOST_STEPS, _MOST_STEPS)).astype(np.int64))
    found: Parameters = total * study.clip
    return found


def _is_plausible(study: StudyProtocol, plan: PrivacyPlan, one: GroupSum) -> bool:
    return not fault_of(study, plan, one.total, len(one.members))


def _without(sums: Sequence[GroupSum], reviews: Mapping[str, Review]) -> list[GroupSum]:
    """The sums that no quarantined hospital is in."""
    out = {name for name, one in reviews.items() if one.quarantined}
    return [one for one in sums if not out & set(one.members)]
