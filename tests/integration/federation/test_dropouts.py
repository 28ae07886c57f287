"""Hospitals that are lost: before they join, before or after they send, while a sum is opened; and come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.federation.kit import FIVE, five_sites
from twinward.federation import site as site_module
from twinward.federation.aggregation.contribution import Contribution, Unmasking
from twinward.federation.aggregation.secure_aggregation import SignedRoundKey
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import Parameters, normalise
from twinward.federation.detectors.dp_var import DpVarDetector
from twinward.federation.errors import RoundAborted
from twinward.federation.privacy.accountant import plan_for
from twinward.federation.privacy.dp_sum import Integers, clipped_sum
from twinward.federation.rounds import Rounds
from twinward.federation.site import Site
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.study import StudyProtocol
from twinward.federation.study_journal import StudyJournal

STAYS = {name: simulate_stays(8, index) for index, name in enumerate(FIVE)}
SEALED = StudyProtocol.for_dp_var("sealed", FIVE, expected_patients=40, bins=2)
SPARE = StudyProtocol.for_dp_var("spare", FIVE, expected_patients=40, bins=2, spare_rounds=1)
LONG = StudyProtocol.for_autoencoder("long", FIVE, rounds=3, hidden=2, bins=2, expected_patients=40)


class Phase(Enum):
    """When a hospital is lost."""

    NEVER = "never"
    BEFORE_JOINING = "before it joins"
    AFTER_JOINING = "after it joined, before its sum is there"
    HAVING_ANSWERED = "its sum is computed and written down, and never arrives"
    AT_UNMASKING = "its sum is there, and it is asked to open"
    SHARING = "it opened its own, and is asked for another's share"


@dataclass
class Losable:
    """A site that does not answer at one phase, for good or once."""

    inner: Site
    phase: Phase = Phase.NEVER
    for_good: bool = True
    lost: bool = False
    asked: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.inner.name

    def join(self, study: StudyProtocol, attempt: int = 1) -> SignedRoundKey | None:
        self._answer("join", self.phase is Phase.BEFORE_JOINING)
        return self.inner.join(study, attempt)

    def contribute(
        self, round_number: int, attempt: int, parameters: Parameters, keys: Sequence[SignedRoundKey]
    ) -> Contribution:
        self._answer("contribute", self.phase is Phase.AFTER_JOINING)
        sent = self.inner.contribute(round_number, attempt, parameters, keys)
        self._answer("contributed", self.phase is Phase.HAVING_ANSWERED)
        return sent

    def unmask(self, attempt: int, shares: Mapping[str, bytes]) -> Unmasking:
        sharing = self.phase is Phase.SHARING and bool(shares)
        self._answer("share" if shares else "unmask", self.phase is Phase.AT_UNMASKING or sharing)
        return self.inner.unmask(attempt, shares)

    def close(self) -> None:
        self.inner.close()

    def _answer(self, what: str, lost_now: bool) -> None:
        self.asked.append(what)
        if lost_now and not self.lost:
            self.lost = True
            if not self.for_good:
                self.phase = Phase.NEVER
            raise RoundAborted(f"{self.name} does not answer")
        if self.lost and self.for_good:
            raise RoundAborted(f"{self.name} does not answer")
        self.lost = False


def losing(**phases: Phase) -> list[Losable]:
    return [Losable(one, phases.get(one.name, Phase.NEVER)) for one in five_sites(STAYS)]


def learnt(study: StudyProtocol, made: Sequence[Site], journal: StudyJournal | None = None) -> list[Integers]:
    """What each round opens to; hospitals draw no noise."""
    journal = journal or StudyJournal(Path(":memory:"), study.fingerprint())
    detector = build_detector(study)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_module, "add_noise", lambda total, *_: total)
        rounds = Rounds(study, plan_for(study), made, journal, detector.dimension)
        rounds.run(detector.learner(), lambda _: None, lambda *_: None)
    return list(journal.totals())


def reference(study: StudyProtocol, names: Sequence[str]) -> Integers:
    """The plain sum over some hospitals, one patient after the other."""
    detector, total = DpVarDetector(study.bins), np.zeros(DpVarDetector(study.bins).dimension, np.int64)
    for name in names:
        for stay in STAYS[name]:
            rows = detector.contributions(detector.untrained(), normalise(stay[None], study.bins))
            total += clipped_sum(rows, study.clip, detector.dimension)
    return total


def require_sum_of(study: StudyProtocol, total: Integers, names: Sequence[str]) -> None:
    np.testing.assert_allclose(total, reference(study, names), atol=200)  # a step is C/2^24; batches round otherwise


ALL_BUT_WEST = FIVE[:-1]
EARLY = (Phase.BEFORE_JOINING, Phase.AFTER_JOINING, Phase.HAVING_ANSWERED)


@pytest.mark.parametrize("study", [SEALED, SPARE], ids=lambda study: study.study_id)
@pytest.mark.parametrize("phase", [Phase.NEVER, *EARLY, Phase.AT_UNMASKING], ids=lambda phase: phase.name)
def test_one_of_five_may_be_lost_at_any_phase(study: StudyProtocol, phase: Phase) -> None:
    made = losing(west=phase)
    [total] = learnt(study, made)
    require_sum_of(study, total, ALL_BUT_WEST if phase in EARLY else FIVE)


def test_undisturbed_a_round_is_one_exchange_or_a_second_small_one_where_it_is_sealed() -> None:
    for study, exchanges in ((SPARE, ["join", "contribute", "contributed"]), (SEALED, [])):
        made = losing()
        learnt(study, made)
        for one in made:
            assert one.asked == (exchanges or ["join", "contribute", "contributed", "unmask"])
    made = losing()
    learnt(LONG, made)
    assert made[0].asked == ["join", *["contribute", "contributed"] * 3]


def attempted(study: StudyProtocol, made: Sequence[Site], journal: StudyJournal) -> str:
    """Why a run stopped, if it did."""
    try:
        learnt(study, made, journal)
    except RoundAborted as error:
        return str(error)
    return ""


PHASES = st.sampled_from([phase for phase in Phase if phase is not Phase.NEVER])


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([SEALED, SPARE]), st.dictionaries(st.sampled_from(FIVE), PHASES, max_size=3), st.booleans())
def test_a_round_opens_to_the_plain_sum_of_some_or_to_nothing(
    study: StudyProtocol, lost: dict[str, Phase], for_good: bool
) -> None:
    """Whoever is lost, whenever: what is learnt is the sum over at least four hospitals, or the study stops and says
    who is lost; begun again with all of them, it goes on."""
    made = losing(**lost)
    for one in made:
        one.for_good = for_good
    journal = StudyJournal(Path(":memory:"), study.fingerprint())
    said = attempted(study, made, journal)
    if said:
        assert any(name in said for name in lost)
        for one in made:
            one.phase, one.lost = Phase.NEVER, False
        said = attempted(study, made, journal)
        assert not said or "no spare round" in said or "no attempt is left" in said
        if said:
            return
    [total] = journal.totals()
    four = [FIVE, *(tuple(name for name in FIVE if name != gone) for gone in lost)]
    assert any(np.allclose(total, reference(study, names), atol=200) for names in four)


@pytest.mark.parametrize("study", [SEALED, LONG], ids=lambda study: study.study_id)
def test_what_was_learnt_to_the_last_round_goes_on_without_asking_anybody(study: StudyProtocol) -> None:
    journal = StudyJournal(Path(":memory:"), study.fingerprint())
    made = losing()
    sums = learnt(study, made, journal)
    asked = [list(one.asked) for one in made]
    again = learnt(study, made, journal)
    assert [one.tolist() for one in again] == [one.tolist() for one in sums]
    assert [one.asked for one in made] == asked


def test_two_lost_stop_it_with_their_names() -> None:
    with pytest.raises(RoundAborted, match="east does not answer; west does not answer: 4 of 5 hospitals are needed"):
        learnt(SEALED, losing(west=Phase.AFTER_JOINING, east=Phase.AFTER_JOINING))


def test_a_hospital_that_comes_back_takes_part_again() -> None:
    made = losing(west=Phase.AFTER_JOINING)
    made[-1].for_good = False
    study = StudyProtocol.parse(LONG.model_dump() | {"rounds": 4, "spare_rounds": 2})
    assert len(learnt(study, made)) == 4
    assert made[-1].asked.count("contribute") >= 2


def test_where_no_spare_round_is_left_a_hospital_that_was_lost_is_not_counted_on() -> None:
    made = losing(west=Phase.AFTER_JOINING)
    made[-1].for_good = False
    assert len(learnt(LONG, made)) == 3
    assert made[-1].asked.count("contribute") == 1


def test_out_of_spare_rounds_a_study_waits_for_whom_it_lost() -> None:
    made = losing(west=Phase.HAVING_ANSWERED)
    journal = StudyJournal(Path(":memory:"), SPARE.fingerprint())
    east = made[1]
    east.phase, east.for_good = Phase.HAVING_ANSWERED, False

    def lose_east_in_the_second_attempt(round_number: int, attempt: int, *asked: object) -> Contribution:
        if attempt == 1:
            return east.inner.contribute(round_number, attempt, *asked)  # type: ignore[arg-type]
        return Losable.contribute(east, round_number, attempt, *asked)  # type: ignore[arg-type]

    east.contribute = lose_east_in_the_second_attempt  # type: ignore[method-assign, assignment]
    with pytest.raises(RoundAborted, match="east"):
        learnt(SPARE, made, journal)
    [total] = learnt(SPARE, made, journal)  # east is back, and says again what it had answered
    require_sum_of(SPARE, total, ALL_BUT_WEST)
