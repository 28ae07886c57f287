"""What a study's groups say of its hospitals, at the hospital that coordinates it, and what its officer decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from twinward.access.interfaces import AccessContext
from twinward.core.errors import BadInput, NotFound
from twinward.federation.study import StudyProtocol
from twinward.federation.study_journal import Review, StudyJournal
from twinward.federation.suspicion.suspects import Suspicion
from twinward.federation.suspicion.verdict import examined
from twinward.node.node import Node
from twinward.node.study_approvals import log_step, member
from twinward.node.study_run import journal_of

REASON_MAX: Final = 500
"""Characters of an officer's reason."""


@dataclass(frozen=True)
class Standing:
    """Where the hospitals of a study stand.

    Attributes:
        rounds: learnt so far.
        found: each that is not quarantined, the most suspect first.
        reviews: what was decided, by hospital.
    """

    rounds: int
    found: list[Suspicion]
    reviews: dict[str, Review]


def standing_of_hospitals(node: Node, study: StudyProtocol) -> Standing:
    """What the sums so far say of each hospital. Raises ``NotFound``: no such study is under way here."""
    with journal_of(node.settings.home, study) as journal:
        _require_begun(study, journal)
        return Standing(len(journal.totals()), examined(study, journal), journal.reviews())


def decide(
    node: Node, study: StudyProtocol, hospital: str, by: AccessContext, reason: str, *, quarantined: bool
) -> Review:
    """Leave a hospital out of a study, or say that it was looked at and stays, once that is in the log.

    It holds from the next round on. Another decision about the same hospital takes its place.

    Raises:
        BadInput: no hospital of the study, or no reason.
        NotFound: no such study is under way here.
        AccessDenied: policy does not let this account decide.
        Unavailable: the event could not be logged, or the decision not be kept.
    """
    words = reason.strip()
    if not 1 <= len(words) <= REASON_MAX or not words.isprintable():
        raise BadInput(f"a reason has 1 to {REASON_MAX} characters, in one line", hint="say it with --reason")
    if hospital not in study.hospitals:
        raise BadInput(f"{hospital} is no hospital of {study.study_id}", hint=f"one of {', '.join(study.hospitals)}")
    with journal_of(node.settings.home, study) as journal, member(node, node.settings.tenant) as own:
        _require_begun(study, journal)
        what = (
            ("study", study.study_id),
            ("fingerprint", study.fingerprint().hex()),
            ("hospital", hospital),
            ("reason", words),
        )
        log_step(own, by, "quarantine" if quarantined else "clear", what)
        review = Review(hospital, quarantined, by.principal.id, words, node.clock.now_ms())
        journal.review(review)
        return review


def _require_begun(study: StudyProtocol, journal: StudyJournal) -> None:
    if journal.begun() is None:
        raise NotFound(
            f"{study.study_id} is not under way here",
            hint="a study is looked at where it is run, from `twinward study run` on until its model is registered",
        )
