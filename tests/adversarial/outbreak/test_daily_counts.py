"""Attacks on daily counts: by who invites, by another hospital, by whoever holds the storage or an old disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.outbreak.region import APPROVING, DAYS, NAMES, TODAY, Region, condition, opened_region, terms
from twinward.audit.errors import LogTampered
from twinward.core.errors import TwinwardError
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity, RoundSecret, new_private_key
from twinward.federation.errors import BudgetExhausted, InvitationInvalid, NotApproved, NotAuthentic, NotPaid
from twinward.node.outbreak_releases import roster_of
from twinward.node.study_approvals import member
from twinward.outbreak.agreement import ATTEMPT, AgreedPeriod, PeriodApproval, PeriodInvitation, PeriodTerms
from twinward.outbreak.errors import OutbreakInvalid, ReleaseRefused
from twinward.outbreak.shares import Share


@pytest.fixture(name="region")
def region_fixture(tmp_path: Path) -> Iterator[Region]:
    with opened_region(tmp_path / "home") as made:
        yield made


def identity_of(region: Region, name: str) -> HospitalIdentity:
    with member(region.node, name) as one:
        return one.identity()


def signed(region: Region, changed: PeriodTerms, proof_of_other: PeriodInvitation | None = None) -> bytes:
    """An invitation as a hostile coordinator writes it, whatever its terms keep."""
    honest = PeriodInvitation.parse(region.invited(terms()))
    proof = honest.proof if proof_of_other is None else proof_of_other.proof
    roster = roster_of(region.node, changed, ())
    return replace(honest, terms=changed, roster=roster, proof=proof).signed(identity_of(region, "st-anna"))


def test_who_invites_cannot_promise_more_than_the_noise_keeps_nor_charge_for_another_period(region: Region) -> None:
    thin = terms().model_copy(update={"variance": 1})
    with pytest.raises(OutbreakInvalid, match="does not keep"):
        region.approved("northgate", signed(region, thin))
    with pytest.raises(NotAuthentic):
        region.approved("northgate", signed(region, terms("other")))
    other_lists = terms().model_copy(update={"code_lists": "0" * 64})
    with pytest.raises(OutbreakInvalid, match="code lists"):
        region.approved("northgate", signed(region, other_lists))
    for wrong in (
        {"hospitals": NAMES[:2]},
        {"honest": 1},
        {"levels": 9},
        {"days": 0},
        {"days": 400},
        {"epsilon": 1e999},
    ):
        with pytest.raises(OutbreakInvalid):
            PeriodTerms.parse(terms().model_dump() | wrong)


def test_levels_members_or_keys_changed_meanwhile_release_nothing(region: Region) -> None:
    agreed = region.agreed(terms())
    region.released("st-anna", agreed, 1)
    changed = region.invited(terms(levels=2))
    approvals = [region.approved(name, changed) for name in NAMES[1:]]
    with pytest.raises(InvitationInvalid, match="st-anna"):
        AgreedPeriod.join(changed, approvals)
    mixed = json.loads(agreed.content) | {"invitation": json.loads(changed)}
    with pytest.raises(InvitationInvalid):
        AgreedPeriod.parse(json.dumps(mixed).encode())
    lakeside, period = identity_of(region, "lakeside"), agreed.terms.fingerprint()
    fresh = RoundSecret(lakeside, agreed.invitation.roster, period, ATTEMPT, new_private_key()).signed_key
    old = next(one for one in agreed.approvals if one.hospital == "lakeside")
    second = PeriodApproval(period, "lakeside", fresh, old.budget).signed(lakeside)
    invitation = json.dumps(json.loads(agreed.content)["invitation"]).encode()
    first_two = [
        json.dumps(one).encode() for one in json.loads(agreed.content)["approvals"] if one["hospital"] != "lakeside"
    ]
    others = AgreedPeriod.join(invitation, [*first_two, second])
    with pytest.raises(ReleaseRefused, match="other keys"):
        region.released("st-anna", others, 2)
    stolen = PeriodApproval(period, "lakeside", fresh, old.budget).signed(identity_of(region, "st-anna"))
    with pytest.raises(InvitationInvalid, match="not signed by whom it names"):
        AgreedPeriod.join(invitation, [*first_two, stolen])


def test_a_second_period_around_one_patient_is_charged_anew_until_nothing_is_left(region: Region) -> None:
    region.admit("st-anna", "ann", condition(DAYS[0]))
    with region.part("st-anna", APPROVING) as (releases, _):
        before = releases.budget_left()
    first, second = region.agreed(terms()), region.agreed(terms("again"))
    shares = [Share.parse(region.released("st-anna", one, 1), one) for one in (first, second)]
    assert shares[0].days[0].tolist() != shares[1].days[0].tolist()
    with region.part("st-anna", APPROVING) as (releases, _):
        assert before - releases.budget_left() == first.terms.cost + second.terms.cost
    with pytest.raises(BudgetExhausted):
        region.approved("st-anna", region.invited(terms("greedy", epsilon=10.0, delta=1e-4, levels=3)))


def test_a_share_is_as_long_whatever_was_counted(region: Region) -> None:
    agreed = region.agreed(terms())
    empty = region.released("northgate", agreed, 2)
    for number in range(12):
        region.admit("st-anna", f"p{number}", condition(DAYS[1]))
    full = region.released("st-anna", agreed, 2)
    assert len(full) - len("st-anna") == len(empty) - len("northgate")


def test_a_disk_that_was_turned_back_as_a_whole_releases_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with opened_region(home) as region:
        region.admit("st-anna", "ann", condition(DAYS[0]))
        agreed = region.agreed(terms())
        region.released("st-anna", agreed, 1)
    turned = [one for name in ("log", "outbreak", "studies", "vault") for one in home.glob(f"{name}*.db*")]
    kept = tmp_path / "kept"
    kept.mkdir()
    for one in turned:
        shutil.copy2(one, kept / one.name)
    with opened_region(home) as region:
        region.released("st-anna", agreed, 2)
    for one in turned:
        one.unlink(missing_ok=True)
    for one in kept.iterdir():
        shutil.copy2(one, home / one.name)
    with pytest.raises((LogTampered, TwinwardError)) as refused, opened_region(home) as region:
        region.released("st-anna", agreed, 2)
    assert not isinstance(refused.value, NotPaid | NotApproved)


def test_a_day_before_the_period_or_of_the_future_counts_nowhere(region: Region) -> None:
    days = [DAYS[0] - timedelta(days=1), TODAY + timedelta(days=1)]
    region.admit("st-anna", "ann", *(condition(day) for day in days))
    region.admit("st-anna", "bob", condition("not a day"), condition("2026-11"), condition(""))
    agreed = region.agreed(terms())
    for name in NAMES:
        region.released(name, agreed)
    assert (
        region.node.outbreak_periods.patients(agreed.terms.fingerprint())(region.node.twins.find("Patient/ann")) == {}
    )
