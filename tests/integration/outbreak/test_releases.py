"""Daily counts from consenting patients' Conditions: agreed, paid for, counted once, the same for ever."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.integration.cli.conftest import OFFICER
from tests.integration.outbreak.region import CAP_MICROS, DAYS, NAMES, TODAY, Region, condition, opened_region, terms
from twinward.access.interfaces import AccessContext
from twinward.core.errors import StoreAltered
from twinward.core.vocabulary import Purpose
from twinward.federation.errors import InvitationInvalid, NotApproved, NotPaid, RoundAborted, SumImplausible
from twinward.outbreak.agreement import AgreedPeriod
from twinward.outbreak.errors import OutbreakInvalid, ReleaseForgotten, ReleaseRefused
from twinward.outbreak.shares import Share, SummedDays, series_of


@pytest.fixture(name="region")
def region_fixture(tmp_path: Path) -> Iterator[Region]:
    with opened_region(tmp_path / "home") as made:
        yield made


@pytest.fixture(name="quiet")
def quiet_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    """No noise, to see what is counted; masks stay."""
    monkeypatch.setattr("twinward.outbreak.continual.discrete_gaussian", lambda size, *_: np.zeros(size, np.int64))


@pytest.mark.usefixtures("quiet")
def test_three_hospitals_count_consenting_patients_once_and_only_together(region: Region) -> None:
    region.admit("st-anna", "ann", condition(DAYS[1]), condition(DAYS[2]))
    region.admit("st-anna", "bob", condition(DAYS[1]), consents=False)
    region.admit("northgate", "cat", condition(f"{DAYS[1]}T23:30:00+05:00"))
    wrong = {"coding": [{"code": "entered-in-error"}]}
    region.admit("northgate", "dan", condition(DAYS[0], verificationStatus=wrong), condition(DAYS[3]))
    region.admit("lakeside", "eve", condition(DAYS[4]), condition(TODAY - timedelta(days=30)))
    agreed = region.agreed(terms(levels=2))
    shares = [region.released(name, agreed) for name in NAMES]
    with pytest.raises(RoundAborted, match="northgate"):
        region.summed(agreed, [shares[0], shares[2]])
    found = region.summed(agreed, shares)
    assert found.daily("influenza") == [0, 2, 0, 1, 1]
    assert (1, 2, 2) in found.sums["influenza"]
    assert SummedDays.parse(found.content()) == found
    last, series, noise = series_of([found], "influenza")
    assert (len(series), noise) == (5, 3 * agreed.terms.share)
    assert last == (DAYS[4] - type(TODAY)(1970, 1, 1)).days


def test_asked_again_it_says_the_same_and_noise_is_drawn_once(region: Region) -> None:
    region.admit("st-anna", "ann", condition(DAYS[0]))
    agreed = region.agreed(terms())
    first = region.released("st-anna", agreed, 2)
    assert region.released("st-anna", agreed, 2) == first
    longer = region.released("st-anna", agreed, 3)
    assert Share.parse(longer, agreed).days[1].tolist() == Share.parse(first, agreed).days[1].tolist()
    assert region.released("st-anna", agreed, 2) == first
    whole = region.released("st-anna", agreed)
    assert region.released("st-anna", agreed) == whole, "also when the period is over and the counts are forgotten"


@pytest.mark.usefixtures("quiet")
def test_who_comes_to_light_late_or_withdraws_changes_no_released_day(region: Region) -> None:
    ann = region.admit("st-anna", "ann", condition(DAYS[3]))
    agreed = region.agreed(terms())
    others = [region.released(name, agreed) for name in NAMES[1:]]
    region.released("st-anna", agreed, 2)
    region.admit("st-anna", "late", condition(DAYS[0]))
    region.admit("st-anna", "both", condition(DAYS[0]), condition(DAYS[2]))
    region.node.access.set_consents(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(ann, ())])
    found = region.summed(agreed, [region.released("st-anna", agreed), *others])
    assert found.daily("influenza") == [0, 0, 1, 0, 0]


def test_without_approval_payment_or_the_very_terms_nothing_is_released(region: Region) -> None:
    invitation = region.invited(terms())
    approvals = [region.approved(name, invitation) for name in NAMES]
    assert region.approved("st-anna", invitation) == approvals[0]
    with pytest.raises(InvitationInvalid, match="lakeside"):
        AgreedPeriod.join(invitation, approvals[:2])
    agreed = AgreedPeriod.join(invitation, approvals)
    with pytest.raises(NotPaid):
        region.released("st-anna", agreed)
    with region.part("northgate") as (releases, by):
        assert releases.periods()[0].reservation == 0
    with region.part("st-anna") as (releases, by):
        number = releases.reserve(by, agreed)
        assert releases.reserve(by, agreed) == number, "paid once"
        assert releases.budget_left() == CAP_MICROS - agreed.terms.cost
    other = AgreedPeriod.join((made := region.invited(terms("other"))), [region.approved(name, made) for name in NAMES])
    with pytest.raises(NotPaid):
        region.released("st-anna", other)
    with region.part("st-anna", AccessContext(OFFICER, Purpose.COMPLIANCE)) as (releases, by):
        releases.withdraw(by, invitation)
    with pytest.raises(NotApproved, match="took back"):
        region.released("st-anna", agreed)
    region.released("northgate", agreed)
    soon = region.agreed(terms("soon", first_day=TODAY))
    with pytest.raises(ReleaseRefused, match="not over"):
        region.released("st-anna", soon)


def test_a_home_that_lacks_what_it_released_releases_no_more(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with opened_region(home) as region:
        region.admit("st-anna", "ann", condition(DAYS[0]))
        agreed = region.agreed(terms())
        region.released("st-anna", agreed, 1)
    kept = (home / "outbreak.db").read_bytes()
    with opened_region(home) as region:
        region.released("st-anna", agreed, 3)
    for one in home.glob("outbreak.db*"):
        one.unlink()
    (home / "outbreak.db").write_bytes(kept)  # as a backup from before has it
    with opened_region(home) as region:
        with pytest.raises(ReleaseForgotten, match="lacks what was said"):
            region.released("st-anna", agreed, 3)
        with pytest.raises(ReleaseForgotten):
            region.released("st-anna", agreed, 1)
    for one in (*home.glob("studies.db*"), *home.glob("studies.begin")):
        one.unlink()  # as a restore into a new home has none
    with opened_region(home) as region:
        with pytest.raises((ReleaseForgotten, NotPaid)):
            region.released("st-anna", agreed, 3)
        invitation = json.dumps(json.loads(agreed.content)["invitation"]).encode()
        with pytest.raises(ReleaseForgotten, match="paid for before"):
            region.approved("st-anna", invitation)


def test_storage_that_forgets_a_counted_patient_is_noticed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with opened_region(home) as region:
        ann = region.admit("st-anna", "ann", condition(DAYS[0]))
        region.admit("st-anna", "bob", condition(DAYS[0]))
        agreed = region.agreed(terms())
        region.released("st-anna", agreed, 1)
        assert region.node.outbreak_periods.forget_erased(lambda twin: twin == ann) == 1
        region.released("st-anna", agreed, 2)  # an erased patient is missed by nobody
    with sqlite3.connect(home / "outbreak.db") as db:
        assert db.execute("delete from outbreak_counted").rowcount == 1
    with opened_region(home) as region, pytest.raises(StoreAltered):
        region.released("st-anna", agreed, 3)


def test_who_is_erased_and_registered_anew_counts_as_two_patients_and_no_more(region: Region) -> None:
    """As docs/outbreak.md says it: the erasure leaves nothing that would tell."""
    first = region.admit("st-anna", "ann", condition(DAYS[0]))
    agreed = region.agreed(terms())
    region.released("st-anna", agreed, 1)
    period, kept = agreed.terms.fingerprint(), region.node.outbreak_periods
    assert kept.patients(period)(first)
    assert kept.forget_erased(lambda twin: twin == first) == 1
    second = region.admit("st-anna", "ann-anew", condition(DAYS[1]))
    region.released("st-anna", agreed, 2)
    counted = kept.patients(period)(second)
    assert counted
    region.admit("st-anna", "ann-anew", condition(DAYS[1]), condition(DAYS[2]))
    region.released("st-anna", agreed, 3)
    assert kept.patients(period)(second) == counted, "once more, and no further time"


def test_shares_of_another_period_or_altered_or_lying_are_refused(region: Region) -> None:
    agreed, other = region.agreed(terms()), region.agreed(terms("other"))
    shares = [region.released(name, agreed) for name in NAMES]
    with pytest.raises(InvitationInvalid, match="another period"):
        Share.parse(region.released("st-anna", other), agreed)
    said = json.loads(shares[0])
    for wrong in (
        {"days": [*said["days"][:-1], "00" * 7]},
        {"days": [*said["days"], said["days"][0]]},
        {"days": ["zz" * 8]},
        {"days": []},
        {"days": [float("nan")]},
        {"hospital": "northgate"},
        {"kind": "twinward/outbreak-sum/1"},
    ):
        with pytest.raises(InvitationInvalid):
            Share.parse(json.dumps(said | wrong).encode(), agreed)
    with region.part("st-anna") as (releases, _):
        identity = releases._parts.identity
    huge = Share("st-anna", tuple(one + np.uint64(1 << 40) for one in Share.parse(shares[0], agreed).days))
    with pytest.raises(SumImplausible):
        region.summed(agreed, [huge.signed(agreed, identity), *shares[1:]])
    lie = Share("st-anna", tuple(one + np.uint64(1000) for one in Share.parse(shares[0], agreed).days))
    told = region.summed(agreed, [lie.signed(agreed, identity), *shares[1:]]).daily("influenza")
    honest = region.summed(agreed, shares).daily("influenza")
    assert [a - b for a, b in zip(told, honest, strict=True)] == [1000] * 5, (
        "masks hide who lies by a believable amount"
    )
    with pytest.raises(InvitationInvalid, match="different things"):
        region.summed(agreed, [lie.signed(agreed, identity), *shares])


def test_what_is_no_sum_of_a_period_is_refused(region: Region) -> None:
    agreed = region.agreed(terms())
    found = region.summed(agreed, [region.released(name, agreed) for name in NAMES]).shown()
    sums = found["sums"]["influenza"]
    for wrong in (
        {"sums": {"influenza": [*sums, sums[-1]]}},
        {"sums": {"influenza": [[1, 1, 1e400]]}},
        {"sums": {"influenza": [[1, 1, 1 << 60]]}},
        {"sums": {"influenza": [[-1, -1, 4]]}},
        {"sums": {"influenza": []}},
        {"sums": {}},
        {"sums": 4},
        {"noise": 0},
        {"kind": "x"},
        {"terms": 1},
    ):
        with pytest.raises(OutbreakInvalid):
            SummedDays.parse(json.dumps(found | wrong).encode())
    for raw in (b"", b"{}", b"[]", b"\xff", b"[" * 9000):
        with pytest.raises(OutbreakInvalid):
            SummedDays.parse(raw)
    whole = SummedDays.parse(json.dumps(found).encode())
    with pytest.raises(OutbreakInvalid, match="does not begin"):
        series_of([whole, whole], "influenza")
    with pytest.raises(OutbreakInvalid, match="does not count"):
        series_of([whole], "measles")
