"""kill -9, for real: of any site at each phase, and of all at once; the study goes on and says nothing twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from tests.integration.federation.kit import FIVE, IDENTITIES, ROSTER_OF_FIVE, AllPaid
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.aggregation.contribution import Contribution, Unmasking
from twinward.federation.aggregation.secure_aggregation import SignedRoundKey
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import Parameters
from twinward.federation.errors import RoundAborted
from twinward.federation.privacy.accountant import plan_for
from twinward.federation.privacy.dp_sum import Integers
from twinward.federation.rounds import Rounds
from twinward.federation.site_process import SiteProcess
from twinward.federation.stays.sources import SimulatedStays
from twinward.federation.study import StudyProtocol
from twinward.federation.study_journal import StudyJournal

Said = TypeVar("Said")
pytestmark = pytest.mark.slow


@dataclass
class Killed:
    """A site's process that is killed when it is asked something, before it is or after it has answered."""

    inner: SiteProcess
    when: str = ""
    dead: bool = False

    @property
    def name(self) -> str:
        return self.inner.name

    def join(self, study: StudyProtocol, attempt: int = 1) -> SignedRoundKey | None:
        return self._around("join", lambda: self.inner.join(study, attempt))

    def contribute(
        self, round_number: int, attempt: int, parameters: Parameters, keys: Sequence[SignedRoundKey]
    ) -> Contribution:
        return self._around("contribute", lambda: self.inner.contribute(round_number, attempt, parameters, keys))

    def unmask(self, attempt: int, shares: Mapping[str, bytes]) -> Unmasking:
        return self._around("unmask", lambda: self.inner.unmask(attempt, shares))

    def close(self) -> None:
        self.inner.close()

    def _around(self, what: str, ask: Callable[[], Said]) -> Said:
        if self.when == f"before {what}":
            self._kill()
        said = ask()
        if self.when == f"after {what}":
            self._kill()
            raise RoundAborted(f"{self.name} was killed before its answer was read")
        return said

    def _kill(self) -> None:
        self.when, self.dead = "", True
        assert self.inner.process_id is not None
        os.kill(self.inner.process_id, signal.SIGKILL)


def started(folder: Path, index: int) -> SiteProcess:
    return SiteProcess(
        IDENTITIES[FIVE[index]],
        ROSTER_OF_FIVE,
        SimulatedStays(8, seed=index),
        reservations=AllPaid(FIVE),
        memory=folder / f"{FIVE[index]}.db",
        pace_s=0.01,
        reply_timeout_s=120,
    )


@dataclass
class Hospitals:
    """Five sites' processes; those that were killed are started anew over the same memories."""

    folder: Path
    running: list[Killed]

    def run(self, study: StudyProtocol, **when: str) -> list[Integers]:
        """The study's sums, with sites killed when it says."""
        for one in self.running:
            one.when = when.get(one.name, "")
        journal = StudyJournal(self.folder / "journal.db", study.fingerprint())
        detector = build_detector(study)
        rounds = Rounds(study, plan_for(study), self.running, journal, detector.dimension)
        try:
            rounds.run(detector.learner(), lambda _: None, lambda *_: None)
        finally:
            for index, one in enumerate(self.running):
                if one.dead:
                    one.close()
                    self.running[index] = Killed(started(self.folder, index))
        return list(journal.totals())

    def answers(self, study: StudyProtocol) -> dict[str, bytes]:
        """What each hospital answered last."""
        found = {}
        for name in FIVE:
            memory = AnsweredRounds(self.folder / f"{name}.db")
            newest = memory.newest(study.fingerprint())
            memory.close()
            found[name] = b"" if newest is None else newest.masked
        return found


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospitals]:
    folder = tmp_path_factory.mktemp("hospitals")
    made = Hospitals(folder, [Killed(started(folder, index)) for index in range(5)])
    yield made
    for one in made.running:
        one.close()


def require_open(total: Integers) -> None:
    """Its masks are off: 40 patients and noise are far below 2^50."""
    assert np.abs(total.astype(float)).max() < 2**50


def protocol(name: str, **changes: int) -> StudyProtocol:
    return StudyProtocol.for_dp_var(name, FIVE, expected_patients=40, bins=2, **changes)


@pytest.mark.parametrize("phase", ["join", "contribute", "unmask"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_site_that_is_killed_costs_a_round_nothing_but_its_patients(
    moment: str, phase: str, hospitals: Hospitals
) -> None:
    [total] = hospitals.run(protocol(f"sealed-{moment}-{phase}"), west=f"{moment} {phase}")
    require_open(total)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_or_a_spare_round(moment: str, hospitals: Hospitals) -> None:
    [total] = hospitals.run(protocol(f"spare-{moment}", spare_rounds=1), west=f"{moment} contribute")
    require_open(total)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_where_nobody_may_be_lost_the_study_waits_and_the_killed_site_goes_on(
    moment: str, hospitals: Hospitals
) -> None:
    """The others say again what they said, byte for byte; the killed one answers with the key it gave before."""
    study = protocol(f"whole-{moment}", dropouts=0)
    with pytest.raises(RoundAborted, match="west"):
        hospitals.run(study, west=f"{moment} contribute")
    before = hospitals.answers(study)
    [total] = hospitals.run(study)
    require_open(total)
    after = hospitals.answers(study)
    assert all(after[name] == said for name, said in before.items() if said)


def test_all_are_killed_at_unmasking_and_the_sum_is_opened_after_all(hospitals: Hospitals) -> None:
    """As when the machine of an embedded consortium loses power: some had agreed, some had not been asked."""
    study = protocol("power")
    when = dict.fromkeys(FIVE[:2], "after unmask") | dict.fromkeys(FIVE[2:], "before unmask")
    with pytest.raises(RoundAborted, match="shares of its seed"):
        hospitals.run(study, **when)
    before = hospitals.answers(study)
    [total] = hospitals.run(study)
    require_open(total)
    assert hospitals.answers(study) == before
