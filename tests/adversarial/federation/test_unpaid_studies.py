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
    reserved,
    simulated,
    site_of,
    sites,
)
from twinward.core.errors import Unavailable
from twinward.federation.aggregation.answered_rounds import AnsweredRound, AnsweredRounds
from twinward.federation.aggregation.secure_aggregation import Masked, RoundSecret, SignedRoundKey
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.dp_var import DpVarDetector
from twinward.federation.errors import NotPaid, RoundAborted, RoundRefused
from twinward.federation.models import ReservedPrivacy
from twinward.federation.privacy.accountant import cost_of, require_paid
from twinward.federation.site import HospitalSite
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
    for site in made:
        site.join(AE)
    keys = [site.open_round(1) for site in made]
    made[0].contribute(1, START, keys)
    budget.burn(number)
    with pytest.raises(NotPaid, match="settled"):
        made[1].contribute(1, START, keys)
    with pytest.raises(NotPaid, match="settled"):
        made[0].open_round(2)


def test_a_silent_ledger_is_no_leave() -> None:
    class Silent:
        def of_study(self, fingerprint: bytes) -> None:
            raise Unavailable("the ledger does not answer")

    with pytest.raises(Unavailable):
        site_of("east", Unread(), reservations=Silent()).join(VAR)


def test_a_restarted_hospital_goes_on_where_it_was_and_answers_no_round_with_fresh_noise(tmp_path: Path) -> None:
    def start() -> HospitalSite:
        return site_of("east", HeldStays(STAYS["east"]), answered=AnsweredRounds(tmp_path / "studies.db"))

    first = start()
    first.join(AE)
    first_keys = keys_with(first.open_round(1), AE, 1)
    said = first.contribute(1, START, first_keys)

    again = start()
    again.join(AE)
    with pytest.raises(RoundRefused):
        again.open_round(1)
    assert np.array_equal(again.contribute(1, START, first_keys), said)  # in case it was lost
    for parameters, keys in ((START + 1, first_keys), (START, keys_with(first_keys[0], AE, 1))):
        other = start()
        other.join(AE)
        with pytest.raises(RoundRefused):
            other.contribute(1, parameters, keys)

    for number in (2, 3):  # each by a process of its own
        later = start()
        later.join(AE)
        later.contribute(number, START, keys_with(later.open_round(number), AE, number))
    with pytest.raises(RoundRefused, match="took part in this study before"):
        start().join(AE)


def test_a_round_that_was_opened_and_not_answered_is_opened_anew_after_a_restart(tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        east = site_of("east", HeldStays(STAYS["east"]), answered=AnsweredRounds(tmp_path / "studies.db"))
        east.join(AE)
        keys.append(east.open_round(1).public_key)
    assert keys[0] != keys[1]


def test_two_processes_of_one_hospital_answer_a_round_once(tmp_path: Path) -> None:
    """Two coordinators, each with a site of its own over the same home, before either was answered."""
    pair = [
        site_of("east", HeldStays(STAYS["east"]), answered=AnsweredRounds(tmp_path / "studies.db")) for _ in range(2)
    ]
    for east in pair:
        east.join(VAR)
    sent: list[Masked] = []
    for east in pair:
        keys = keys_with(east.open_round(1), VAR, 1)
        if sent:
            with pytest.raises(RoundRefused, match="answered before"):
                east.contribute(1, NOTHING, keys)
        else:
            sent.append(east.contribute(1, NOTHING, keys))


def test_an_answer_that_cannot_be_written_down_is_not_given(tmp_path: Path) -> None:
    memory = AnsweredRounds(tmp_path / "studies.db")
    east = site_of("east", HeldStays(STAYS["east"]), answered=memory)
    east.join(VAR)
    keys = keys_with(east.open_round(1), VAR, 1)
    memory.close()
    with pytest.raises(Unavailable, match="nothing is answered"):
        east.contribute(1, NOTHING, keys)


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

    said: list[tuple[list[SignedRoundKey], Masked]] = []
    for number in (1, 2, 3):
        east = start()
        try:
            east.join(AE)
            if said:
                keys, answer = said[-1]
                assert np.array_equal(east.contribute(number - 1, START, keys), answer)
            keys = keys_with(east.open_round(number), AE, number)
            said.append((keys, east.contribute(number, START, keys)))
            assert east.process_id is not None
            os.kill(east.process_id, signal.SIGKILL)
            with pytest.raises(RoundAborted):
                east.open_round(number + 1)
        finally:
            east.close()
    east = start()
    try:
        with pytest.raises(RoundRefused, match="took part"):
            east.join(AE)
        ledger.write(**{AE.fingerprint().hex(): (cost_of(AE), False)})
        with pytest.raises(NotPaid, match="settled"):
            east.join(AE)
    finally:
        east.close()
