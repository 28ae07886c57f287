"""Studies that nobody paid for, or paid for once and run twice: whoever asks, no hospital answers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.integration.federation.kit import (
    HOSPITALS,
    IDENTITIES,
    ROSTER,
    AllPaid,
    MemoryBudget,
    WrittenReservations,
    join_all,
    reserved,
    simulated,
    site_of,
    sites,
)
from twinward.core.errors import Unavailable
from twinward.federation.aggregation.answered_rounds import AnsweredRound, AnsweredRounds
from twinward.federation.aggregation.contribution import Contribution
from twinward.federation.aggregation.secure_aggregation import RoundSecret, SignedRoundKey
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.dp_var import DpVarDetector
from twinward.federation.errors import NotPaid, RoundAborted, RoundRefused
from twinward.federation.models import ReservedPrivacy
from twinward.federation.privacy.accountant import cost_of, require_paid
from twinward.federation.site import HospitalSite, Site
from twinward.federation.site_process import SiteProcess
from twinward.federation.stays.sources import HeldStays, SimulatedStays
from twinward.federation.study import StudyProtocol
from twinward_contracts.bindings import name_id

STAYS = simulated(20, seed=3)
VAR = StudyProtocol.for_dp_var("var-1", HOSPITALS, expected_patients=60)
AE = StudyProtocol.for_autoencoder("ae-1", HOSPITALS, rounds=3, hidden=2, expected_patients=60)
NOTHING = np.zeros(DpVarDetector.dimension)
START = build_detector(AE).untrained()


class Unread:
    """Stays that nobody may read."""

    def stays(self, study: str, signals: object) -> np.ndarray:
        pytest.fail("stays were read for a study that nobody paid for")

    def withdrawn(self) -> frozenset[int]:
        return frozenset()


def keys_with(own: SignedRoundKey, study: StudyProtocol, number: int) -> list[SignedRoundKey]:
    """A site's key beside those of the two other hospitals."""
    others = [name for name in HOSPITALS if name != own.hospital]
    return [
        own,
        *(RoundSecret(IDENTITIES[name], ROSTER, study.fingerprint(), number).signed_key for name in others),
    ]


def test_forty_studies_on_one_set_of_sites_and_no_ledger_anywhere() -> None:
    for ledger in (None, MemoryBudget()):
        east = HospitalSite(
            IDENTITIES["east"], ROSTER, Unread(), reservations=ledger, answered=AnsweredRounds(Path(":memory:"))
        )
        for number in range(40):
            with pytest.raises(NotPaid):
                east.join(StudyProtocol.for_dp_var(f"x-{number}", HOSPITALS, expected_patients=60))
            with pytest.raises(NotPaid):
                HospitalSite(IDENTITIES["east"], ROSTER, Unread()).join(VAR)


def test_a_site_without_a_memory_answers_nothing() -> None:
    with pytest.raises(NotPaid, match="no memory"):
        HospitalSite(IDENTITIES["east"], ROSTER, Unread(), reservations=AllPaid()).join(VAR)


@pytest.mark.parametrize(
    ("said", "alter"),
    [
        ("settled", lambda found: replace(found, live=False)),
        ("another study", lambda found: replace(found, study=b"x" * 32)),
        ("another study", lambda found: replace(found, study=name_id("var-1"))),
        ("cohort", lambda found: replace(found, cohort=name_id("another"))),
        ("exactly", lambda found: replace(found, hospitals=frozenset({name_id("east")}))),
        ("exactly", lambda found: replace(found, hospitals=found.hospitals | {name_id("west")})),
        ("exactly", lambda found: replace(found, hospitals=found.hospitals - {name_id("east")})),
        ("it costs", lambda found: replace(found, micros=found.micros - 1)),
        ("it costs", lambda found: replace(found, micros=0)),
    ],
)
def test_a_reservation_of_anything_else_pays_for_nothing(
    said: str, alter: Callable[[ReservedPrivacy], ReservedPrivacy]
) -> None:
    right = reserved(VAR.fingerprint(), cost_of(VAR))
    assert require_paid(VAR, "east", right) == right

    class Ledger:
        def of_study(self, fingerprint: bytes) -> ReservedPrivacy:
            return alter(right)

    with pytest.raises(NotPaid, match=said):
        site_of("east", Unread(), reservations=Ledger()).join(VAR)


def test_a_cheaper_protocol_of_the_same_name_pays_for_no_dearer_one() -> None:
    budget = MemoryBudget()
    budget.reserve(StudyProtocol.for_dp_var("var-1", HOSPITALS, expected_patients=60, epsilon=0.1).fingerprint(), (), 9)
    with pytest.raises(NotPaid, match="no reservation names this protocol"):
        site_of("east", Unread(), reservations=budget).join(VAR)


def test_a_reservation_that_is_settled_half_way_ends_the_study() -> None:
    budget = MemoryBudget()
    number = budget.reserve(AE.fingerprint(), HOSPITALS, cost_of(AE))
    made = sites(STAYS, reservations=budget)
    keys = join_all(made, AE)
    made[0].contribute(1, 1, START, keys)
    budget.burn(number)
    for site in made[:2]:
        with pytest.raises(NotPaid, match="settled"):
            site.contribute(1, 1, START, keys)
        with pytest.raises(NotPaid, match="settled"):
            site.join(AE)


def test_a_silent_ledger_is_no_leave() -> None:
    class Silent:
        def of_study(self, fingerprint: bytes) -> None:
            raise Unavailable("the ledger does not answer")

    with pytest.raises(Unavailable):
        site_of("east", Unread(), reservations=Silent()).join(VAR)


def joined(site: Site, study: StudyProtocol, attempt: int = 1) -> SignedRoundKey:
    key = site.join(study, attempt)
    assert key is not None
    return key


def test_a_restarted_hospital_goes_on_where_it_was_and_answers_no_round_with_fresh_noise(tmp_path: Path) -> None:
    def start() -> HospitalSite:
        return site_of("east", HeldStays(STAYS["east"]), answered=AnsweredRounds(tmp_path / "studies.db"))

    first = start()
    first_keys = keys_with(joined(first, AE), AE, 1)
    said = first.contribute(1, 1, START, first_keys)

    again = start()
    assert joined(again, AE) == said.next_key
    assert again.contribute(1, 1, START, first_keys) == said  # in case it was lost
    for parameters, keys in ((START + 1, first_keys), (START, keys_with(first_keys[0], AE, 1))):
        other = start()
        other.join(AE)
        with pytest.raises(RoundRefused):
            other.contribute(1, 1, parameters, keys)

    for number in (2, 3):  # each by a process of its own
        later = start()
        keys = keys_with(joined(later, AE), AE, number)
        said = later.contribute(number, number, START, keys)
    last = start()
    assert last.join(AE) is None
    assert last.contribute(3, 3, START, keys) == said
    with pytest.raises(RoundRefused):
        last.contribute(3, 3, START + 1, keys)


def test_a_hospital_that_has_answered_them_all_reads_no_stay_again(tmp_path: Path) -> None:
    memory = AnsweredRounds(tmp_path / "studies.db")
    east = site_of("east", HeldStays(STAYS["east"]), answered=memory)
    keys = keys_with(joined(east, VAR), VAR, 1)
    said = east.contribute(1, 1, NOTHING, keys)
    again = site_of("east", Unread(), answered=memory)
    assert again.join(VAR) is None
    assert again.contribute(1, 1, NOTHING, keys) == said


def test_a_key_that_was_given_out_stands_over_restarts_until_it_is_used(tmp_path: Path) -> None:
    """So a study goes on over a restart between key and answer, with the keys that the others were sent."""
    keys = []
    for _ in range(2):
        east = site_of("east", HeldStays(STAYS["east"]), answered=AnsweredRounds(tmp_path / "studies.db"))
        keys.append(joined(east, AE))
    assert keys[0] == keys[1]
    assert joined(east, AE, 2).public_key != keys[0].public_key  # it was lost for a while: the others are further on
    with pytest.raises(RoundRefused, match="no key for attempt 1"):
        east.contribute(1, 1, START, keys_with(keys[0], AE, 1))


def test_what_masked_an_answer_is_forgotten_with_it(tmp_path: Path) -> None:
    memory = AnsweredRounds(tmp_path / "studies.db")
    east = site_of("east", HeldStays(STAYS["east"]), answered=memory)
    keys = keys_with(joined(east, AE), AE, 1)
    kept = memory.next_key(AE.fingerprint())
    assert kept is not None
    east.contribute(1, 1, START, keys)
    memory.close()
    for file in tmp_path.iterdir():
        assert kept.private not in file.read_bytes()


def test_two_processes_of_one_hospital_answer_a_round_once(tmp_path: Path) -> None:
    """Two coordinators, each with a site of its own over the same home, before either was answered."""
    pair = [
        site_of("east", HeldStays(STAYS["east"]), answered=AnsweredRounds(tmp_path / "studies.db")) for _ in range(2)
    ]
    own = [joined(east, VAR) for east in pair]
    pair[0].contribute(1, 1, NOTHING, keys_with(own[0], VAR, 1))
    with pytest.raises(RoundRefused, match="another question"):
        pair[1].contribute(1, 1, NOTHING, keys_with(own[1], VAR, 1))


def test_an_answer_that_cannot_be_written_down_is_not_given(tmp_path: Path) -> None:
    memory = AnsweredRounds(tmp_path / "studies.db")
    east = site_of("east", HeldStays(STAYS["east"]), answered=memory)
    keys = keys_with(joined(east, VAR), VAR, 1)
    memory.close()
    with pytest.raises(Unavailable, match="nothing is answered"):
        east.contribute(1, 1, NOTHING, keys)


def test_the_memory_keeps_the_newest_answer_of_each_study(tmp_path: Path) -> None:
    memory = AnsweredRounds(tmp_path / "studies.db")
    assert memory.newest(b"a") is None
    for number in (1, 2):
        memory.keep(b"a", AnsweredRound(number, b"r", b"m" * number))
    memory.keep(b"b", AnsweredRound(1, b"r", b"other"))
    for number in (1, 2):
        with pytest.raises(RoundRefused):
            memory.keep(b"a", AnsweredRound(number, b"s", b"fresh"))
    again = AnsweredRounds(tmp_path / "studies.db")
    assert (again.newest(b"a"), again.newest(b"b")) == (AnsweredRound(2, b"r", b"mm"), AnsweredRound(1, b"r", b"other"))
    (tmp_path / "broken.db").write_bytes(b"no database" * 100)
    with pytest.raises(Unavailable):
        AnsweredRounds(tmp_path / "broken.db")


@pytest.mark.slow
def test_kill_9_between_rounds_loses_no_answer_and_gives_none_twice(tmp_path: Path) -> None:
    ledger = WrittenReservations(tmp_path / "ledger.json")
    ledger.write(**{AE.fingerprint().hex(): (cost_of(AE), True)})

    def start() -> SiteProcess:
        source = SimulatedStays(20, seed=1)
        memory = tmp_path / "studies.db"
        return SiteProcess(
            IDENTITIES["east"], ROSTER, source, reservations=ledger, memory=memory, pace_s=0.01, reply_timeout_s=60
        )

    said: list[tuple[list[SignedRoundKey], Contribution]] = []
    for number in (1, 2, 3):
        east = start()
        try:
            own = joined(east, AE)
            if said:
                keys, answer = said[-1]
                assert own == answer.next_key
                assert east.contribute(number - 1, number - 1, START, keys) == answer
            keys = keys_with(own, AE, number)
            said.append((keys, east.contribute(number, number, START, keys)))
            assert east.process_id is not None
            os.kill(east.process_id, signal.SIGKILL)
            with pytest.raises(RoundAborted):
                east.join(AE)
        finally:
            east.close()
    east = start()
    try:
        assert east.join(AE) is None
        ledger.write(**{AE.fingerprint().hex(): (cost_of(AE), False)})
        with pytest.raises(NotPaid, match="settled"):
            east.join(AE)
    finally:
        east.close()
