"""A coordinator that says "one is lost" while it holds that one's sum, and hospitals that break what opens sums."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.integration.federation.kit import (
    FIVE,
    IDENTITIES,
    ROSTER_OF_FIVE,
    ask_all,
    five_sites,
    join_all,
    next_keys,
    vectors,
)
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.aggregation.contribution import Contribution, Unmasking
from twinward.federation.aggregation.sealing import SealedAttempt, SealSecret, quorum_of, read_secret, unmasking
from twinward.federation.aggregation.secure_aggregation import (
    RoundSecret,
    SignedRoundKey,
    model_context,
    open_sum,
    round_transcript,
)
from twinward.federation.detectors.dp_var import DpVarDetector
from twinward.federation.errors import ContributionRefused, KeyRefused, RoundAborted, RoundRefused
from twinward.federation.privacy.accountant import plan_for
from twinward.federation.rounds import Rounds
from twinward.federation.site import HospitalSite
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.study import StudyProtocol
from twinward.federation.study_journal import StudyJournal

STAYS = {name: simulate_stays(8, index) for index, name in enumerate(FIVE)}
SEALED = StudyProtocol.for_dp_var("sealed", FIVE, expected_patients=40, bins=2)
SPARE = StudyProtocol.for_dp_var("spare", FIVE, expected_patients=40, bins=2, spare_rounds=1)
DIMENSION = DpVarDetector(2).dimension
NOTHING = np.zeros(DIMENSION)


def attempt_of(keys: Sequence[SignedRoundKey], sent: Mapping[str, Contribution], number: int) -> SealedAttempt:
    transcript = round_transcript(SEALED.fingerprint(), 1, number, keys, model_context(NOTHING))
    return SealedAttempt(transcript, {name: one.seal for name, one in sent.items() if one.seal}, quorum_of(SEALED))


class Colluder:
    """Centre tells the coordinator all that it knows of each attempt, and agrees to everything."""

    def __init__(self, site: HospitalSite, memory: AnsweredRounds) -> None:
        self.site, self.memory, self.secrets = site, memory, dict[int, SealSecret]()

    def contribute(self, attempt: int, keys: Sequence[SignedRoundKey]) -> Contribution:
        sent = self.site.contribute(1, attempt, NOTHING, keys)
        kept = self.memory.sealed(SEALED.fingerprint())
        assert kept is not None
        self.secrets[attempt] = read_secret(kept.secret)
        return sent

    def unmask(self, attempt: int, shares: Mapping[str, bytes]) -> Unmasking:
        return unmasking(self.secrets[attempt], "centre", shares)


@pytest.mark.parametrize("gone", ["west", "east"])
@pytest.mark.parametrize(
    "agreed",
    [(), ("west",), ("east",), ("east", "west"), ("east", "north", "south"), ("east", "north", "south", "west")],
)
def test_of_two_attempts_at_a_round_one_opens_whoever_is_told_what(
    agreed: tuple[str, ...], gone: str, tmp_path: Path
) -> None:
    """The coordinator holds all five sums. Some agree to open them; to the others it says that one is lost."""
    made = five_sites(STAYS, tmp_path)
    honest = {one.name: one for one in made[1:]}
    centre = Colluder(made[0], AnsweredRounds(tmp_path / "centre.db"))
    keys = join_all(made, SEALED)
    first = {"centre": centre.contribute(1, keys)}
    first |= {name: one.contribute(1, 1, NOTHING, keys) for name, one in honest.items()}
    given = {name: honest[name].unmask(1, dealt(first, name)) for name in agreed}
    given["centre"] = centre.unmask(1, dealt(first, "centre"))
    opened_first = opens(attempt_of(keys, first, 1), given)

    members = [name for name in FIVE if name != gone]
    again = next_keys({name: first[name] for name in members})
    second, refused = {"centre": centre.contribute(2, again)}, set[str]()
    for name in members[1:]:
        try:
            second[name] = honest[name].contribute(1, 2, NOTHING, again)
        except RoundRefused:
            refused.add(name)
    assert refused == set(agreed) & set(members)  # who agreed to open the first answers no other of this round
    opened_second = False
    if not refused:
        given = {name: honest[name].unmask(2, dealt(second, name)) for name in members[1:]}
        given["centre"] = centre.unmask(2, dealt(second, "centre"))
        opened_second = opens(attempt_of(again, second, 2), given)
        for name in members[1:]:
            with pytest.raises(RoundRefused, match="not the newest"):
                honest[name].unmask(1, {})
    assert opened_first == (len(agreed) >= 3)
    assert opened_second == (not refused)
    assert not (opened_first and opened_second)


def test_before_anybody_agrees_all_five_sums_together_are_uniform() -> None:
    made = five_sites(STAYS)
    sent = ask_all(made, NOTHING, join_all(made, SEALED))
    total = open_sum(vectors(sent), FIVE)
    assert stats.chisquare(np.bincount(total.view(np.uint8), minlength=256)).pvalue > 1e-6


def test_agreement_outlives_a_restart_and_says_the_same_again(tmp_path: Path) -> None:
    made = five_sites(STAYS, tmp_path)
    keys = join_all(made, SEALED)
    sent = ask_all(made, NOTHING, keys)
    agreed = made[1].unmask(1, {})
    again = five_sites(STAYS, tmp_path)[1]
    again.join(SEALED)
    assert again.unmask(1, {}) == agreed
    assert set(again.unmask(1, dealt(sent, "east")).shares) == set(FIVE) - {"east"}
    with pytest.raises(RoundRefused, match="was opened before"):
        again.contribute(1, 2, NOTHING, next_keys(sent)[:4])


def test_where_rounds_are_spare_every_answer_counts_and_no_more_than_were_paid_for_are_given() -> None:
    """Here the coordinator may have both sums, of all and of all but west: that is what the spare round is paid for."""
    made = five_sites(STAYS)
    sent = ask_all(made, NOTHING, join_all(made, SPARE))
    assert SPARE.sums == 2
    assert plan_for(SPARE).rounds == 2
    keys = next_keys({name: one for name, one in sent.items() if name != "west"})
    last = {one.name: one.contribute(1, 2, NOTHING, keys) for one in made[:-1]}
    assert not next_keys(last)
    for one in made[:-1]:
        assert one.join(SPARE) is None
        with pytest.raises(RoundRefused):
            one.contribute(1, 3, NOTHING, keys)
        with pytest.raises(RoundRefused, match="seals no answer"):
            one.unmask(2, {})


def test_no_attempt_over_fewer_than_the_protocol_says() -> None:
    for study in (SEALED, SPARE):
        made = five_sites(STAYS)
        keys = join_all(made, study)
        for few in (keys[:3], keys[:1], []):
            with pytest.raises(KeyRefused, match="at least 4"):
                made[0].contribute(1, 1, NOTHING, few)


def dealt(sent: Mapping[str, Contribution], holder: str) -> dict[str, bytes]:
    return {name: one.seal.shares[holder] for name, one in sent.items() if one.seal and holder in one.seal.shares}


def opens(attempt: SealedAttempt, agreed: Mapping[str, Unmasking]) -> bool:
    for name in attempt.seals:
        if name in agreed:
            attempt.take_seed(name, agreed[name].seed)
            continue
        try:
            attempt.join(name, {holder: one.shares[name] for holder, one in agreed.items() if name in one.shares})
        except RoundAborted:
            return False
    return True


# Hospitals that break what opens sums.


class Liar(HospitalSite):
    """Honest, but for what ``lie`` makes of its answers."""

    lie: Callable[[Any], Any]

    def contribute(self, *asked: Any) -> Contribution:
        sent = super().contribute(*asked)
        return self.lie(sent) if isinstance(sent, Contribution) else sent

    def unmask(self, *asked: Any) -> Unmasking:
        return self.lie(super().unmask(*asked))


def run_with(lie: Callable[[Any], Any], *, lost: str = "", study: StudyProtocol = SEALED) -> None:
    made = five_sites(STAYS)
    made[1].__class__ = Liar
    made[1].lie = staticmethod(lie)  # type: ignore[attr-defined]
    if lost:
        unmask = HospitalSite.unmask

        def gone(self: HospitalSite, *asked: Any) -> Unmasking:
            if self.name == lost:
                raise RoundAborted(f"{lost} does not answer")
            return unmask(self, *asked)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(HospitalSite, "unmask", gone)
            _run(made, study)
    else:
        _run(made, study)


def _run(made: list[HospitalSite], study: StudyProtocol) -> None:
    journal = StudyJournal(Path(":memory:"), study.fingerprint())
    rounds = Rounds(study, plan_for(study), made, journal, DIMENSION)
    rounds.run(DpVarDetector(2).learner(), lambda _: None, lambda *_: None)


def altered(kind: type, **changes: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A lie about some fields of one kind of answer."""

    def lie(said: Any) -> Any:
        if not isinstance(said, kind):
            return said
        return replace(said, **{name: change(getattr(said, name)) for name, change in changes.items()})

    return lie


LIES: dict[str, tuple[Callable[[Any], Any], str, type[Exception], str]] = {
    "another seed": (altered(Unmasking, seed=lambda _: os.urandom(32)), "", ContributionRefused, "east gave a seed"),
    "no seed": (altered(Unmasking, seed=lambda _: b""), "", ContributionRefused, "east gave a seed"),
    "another share": (
        altered(Unmasking, shares=lambda given: {name: os.urandom(32) for name in given}),
        "west",
        ContributionRefused,
        "east gave a share of west's seed",
    ),
    "no share": (altered(Unmasking, shares=lambda _: {}), "west", RoundAborted, "west was lost.*none of east"),
    "no seal": (altered(Contribution, seal=lambda _: None), "", ContributionRefused, "east did not seal"),
    "a seal for fewer": (
        altered(Contribution, seal=lambda seal: replace(seal, shares={"west": b""})),
        "",
        ContributionRefused,
        "east did not seal",
    ),
    "a short sum": (altered(Contribution, masked=lambda sent: sent[:-8]), "", ContributionRefused, "east sent"),
    "an odd sum": (altered(Contribution, masked=lambda sent: sent[:-1]), "", ContributionRefused, "east sent"),
    "a huge sum": (altered(Contribution, masked=lambda sent: sent * 9), "", ContributionRefused, "east sent"),
    "no next key": (altered(Contribution, next_key=lambda _: None), "", ContributionRefused, "east sent no key"),
    "a key of another": (
        altered(Contribution, next_key=lambda key: replace(key, hospital="west")),
        "",
        KeyRefused,
        "east gave a key in the name of west",
    ),
    "a key of another attempt": (
        altered(Contribution, next_key=lambda key: replace(key, attempt=7)),
        "",
        KeyRefused,
        "east sent a key for attempt 7",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_hospital_that_breaks_a_sum_is_named(name: str) -> None:
    lie, lost, error, said = LIES[name]
    with pytest.raises(error, match=said):
        run_with(lie, lost=lost)


def test_shares_of_no_seed_are_found_out_with_the_hospital_that_dealt_them() -> None:
    """East commits itself to another seed than it sealed with, and is lost."""
    lie = altered(Contribution, seal=lambda seal: replace(seal, commitment=os.urandom(32)))
    with pytest.raises(ContributionRefused, match="east dealt shares that are of no seed"):
        run_with(lie, lost="east")


def test_shares_that_cannot_be_read_are_missing_and_no_more() -> None:
    lie = altered(Contribution, seal=lambda seal: replace(seal, shares=dict.fromkeys(seal.shares, b"noise")))
    with pytest.raises(RoundAborted, match="0 of 4 shares"):
        run_with(lie, lost="east")
    run_with(lie)  # nobody is lost: nobody needs them


def test_a_key_that_its_hospital_did_not_sign_stops_the_next_attempt_with_its_name() -> None:
    lie = altered(Contribution, next_key=lambda key: key and replace(key, signature=bytes(64)))
    made = five_sites(STAYS)
    keys = join_all(made, SEALED)
    sent = ask_all(made, NOTHING, keys)
    forged = [lie(sent["east"]).next_key, *(sent[name].next_key for name in ("centre", "north", "south"))]
    with pytest.raises(KeyRefused, match="east did not sign"):
        made[2].contribute(1, 2, NOTHING, forged)


def test_a_low_order_key_is_refused_by_whoever_must_share_with_it() -> None:
    made = five_sites(STAYS)
    keys = join_all(made, SEALED)
    evil = RoundSecret(IDENTITIES["east"], ROSTER_OF_FIVE, SEALED.fingerprint(), 1, bytes(range(32))).signed_key
    with pytest.raises(KeyRefused, match="did not sign"):
        made[0].contribute(1, 1, NOTHING, [keys[0], replace(evil, public_key=bytes(32)), *keys[2:]])
