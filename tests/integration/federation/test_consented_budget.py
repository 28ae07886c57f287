"""Budgets of hospitals that keep their keys to themselves, on the real contract: each daemon signs its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.held_keys import HeldKeysBudget
from tests.integration.federation.kit import HOSPITALS, IDENTITIES, ROSTER, MemoryRegistry, simulated
from twinward.core.clock import FixedClock
from twinward.core.errors import Conflict
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.approval import Approval, Approvals
from twinward.federation.consented_budget import ConsentedBudget
from twinward.federation.coordinator import Coordinator
from twinward.federation.daemon_site import DaemonSite
from twinward.federation.errors import (
    BudgetExhausted,
    ContributionRefused,
    NotAuthentic,
    NotPaid,
    RoundAborted,
    RoundRefused,
    SiteUnreachable,
)
from twinward.federation.invitation import Invitation
from twinward.federation.models import COHORT, BudgetSignature
from twinward.federation.own_budget import LedgerOwnBudget
from twinward.federation.privacy.accountant import cost_of
from twinward.federation.reservation_request import Holder, proof_of, request_of
from twinward.federation.site import HospitalSite
from twinward.federation.stays.sources import HeldStays
from twinward.federation.study import StudyProtocol
from twinward.federation.study_desk import StudyDesk
from twinward_contracts import bindings
from twinward_contracts.names import name_id
from twinward_crypto import bls
from twinward_ledger.anchoring.agreement import sign_as
from twinward_ledger.chains.embedded import EmbeddedChain
from twinward_ledger.testing.consortium import hospitals_on, seeded

EAST = IDENTITIES["east"]
STUDY = StudyProtocol.for_dp_var("var-1", HOSPITALS, expected_patients=90)
COST = cost_of(STUDY)
CAP = 3 * COST


@dataclass
class Desk:
    """A channel to a hospital's desk in this process: the same bytes as on a socket."""

    desk: StudyDesk
    down: bool = False
    asked: list[bytes] = field(default_factory=list)

    def ask(self, message: bytes) -> bytes:
        if self.down:
            raise SiteUnreachable("nobody answers")
        self.asked.append(message)
        return self.desk.answer(message)

    def close(self) -> None:
        pass


@dataclass
class House:
    """Three hospitals, each with its own key, memory and approvals; a coordinator that holds its own key alone."""

    folder: Path
    contract: bindings.BudgetLedger
    channels: dict[str, Desk] = field(default_factory=dict)

    def open(self, study: StudyProtocol = STUDY) -> list[DaemonSite]:
        invitation = Invitation(study, ROSTER, "east", "marie").signed(EAST)
        for name in HOSPITALS:
            (self.folder / name).mkdir(exist_ok=True)
            Approvals(self.folder / name, IDENTITIES[name]).keep(invitation, "olga", 1)
            self.channels[name] = Desk(self.desk(name))
        approvals = Approvals(self.folder / "east", EAST)
        sites = [DaemonSite(name, self.channels[name], EAST, approvals) for name in HOSPITALS]
        for site in sites:
            site.prepare(study)
        return sites

    def desk(self, name: str) -> StudyDesk:
        memory = AnsweredRounds(self.folder / name / "studies.db")

        def own(approval: Approval) -> LedgerOwnBudget:
            return self.own(name, memory, approval.invitation.roster["east"])

        def open_site(approval: Approval) -> HospitalSite:
            stays = HeldStays(simulated(30, seed=6)[name])
            ledger = own(approval)
            return HospitalSite(
                IDENTITIES[name], approval.invitation.roster, stays, reservations=ledger, answered=memory
            )

        approvals = Approvals(self.folder / name, IDENTITIES[name])
        return StudyDesk(IDENTITIES[name], approvals, open_site, own_budget=own, pace_s=0.001)

    def own(self, name: str, memory: AnsweredRounds, coordinator: bytes = EAST.public_key) -> LedgerOwnBudget:
        return LedgerOwnBudget(name, self.contract, seeded(name), memory, coordinator)

    def holder(self) -> Holder:
        return Holder(self.contract.chain_id, self.contract.address, self.contract.holder)

    def budget(self, sites: list[DaemonSite]) -> ConsentedBudget:
        return ConsentedBudget(self.contract, EAST, sites)

    def spent(self) -> list[tuple[int, int]]:
        accounts = [self.contract.privacy(name, COHORT) for name in HOSPITALS]
        return [(one.reserved_micros, one.spent_micros) for one in accounts]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    chain = EmbeddedChain(tmp_path / "chain.db")
    contract = bindings.BudgetLedger.deploy(chain, hospitals_on(chain, (*HOSPITALS, "mallory")).address)
    for name in (*HOSPITALS, "mallory"):
        contract.cap_privacy(name, COHORT, CAP, sign=sign_as({name: seeded(name)}))
    yield House(tmp_path, contract)
    chain.close()


def used_up(house: House, request: bytes, study: bytes) -> None:
    """A member reserves under somebody else's request, with its own hospital's signature: the contract lets it."""
    sign = sign_as({"mallory": seeded("mallory")})
    house.contract.reserve_for(study, COHORT, ["mallory"], 1, sign=sign, request=request)


def test_a_study_is_reserved_trained_and_committed_by_hospitals_that_hold_their_own_keys(house: House) -> None:
    sites = house.open()
    budget = house.budget(sites)
    trained = Coordinator(sites, budget, MemoryRegistry(), FixedClock()).train(STUDY)
    assert house.spent() == [(0, COST)] * 3
    found = budget.of_study(STUDY.fingerprint())
    assert found is not None
    assert (found.number, found.committed, found.holder) == (trained.reservation, True, house.contract.holder)
    with pytest.raises(Conflict, match="paid for before"):
        budget.reserve(STUDY.fingerprint(), HOSPITALS, COST)


def test_a_member_cannot_use_up_what_a_study_will_be_reserved_under(house: House) -> None:
    sites = house.open()
    used_up(house, STUDY.fingerprint(), STUDY.fingerprint())  # what earlier releases reserved under
    number = house.budget(sites).reserve(STUDY.fingerprint(), HOSPITALS, COST)
    assert house.spent() == [(COST, 0)] * 3
    for site in sites:
        assert site.join(STUDY) is not None
    assert house.contract.reservation(number).study_id == STUDY.fingerprint()


def test_who_sees_a_request_under_way_and_is_quicker_stops_nothing_and_is_named_after_eight(house: House) -> None:
    sites = house.open()
    budget = house.budget(sites)

    class Quick:
        """Takes what the last hospital was asked to sign for, before it is sent."""

        def __init__(self, site: DaemonSite, times: int) -> None:
            self.name, self.site, self.times = site.name, site, times

        def sign_reservation(self, number: int, proof: bytes, account: str) -> BudgetSignature:
            made = self.site.sign_reservation(number, proof, account)
            if self.times > 0:
                self.times -= 1
                used_up(house, request_of(proof), STUDY.fingerprint())
            return made

        def sign_settlement(self, reservation: int, *, committed: bool) -> BudgetSignature:
            return self.site.sign_settlement(reservation, committed=committed)

    raced = ConsentedBudget(house.contract, EAST, [*sites[:2], Quick(sites[2], 2)])
    raced.reserve(STUDY.fingerprint(), HOSPITALS, COST)
    assert house.spent() == [(COST, 0)] * 3
    found = budget.of_study(STUDY.fingerprint())
    assert found is not None
    assert found.live
    other = StudyProtocol.for_dp_var("var-2", HOSPITALS, expected_patients=90)
    for number in range(8):
        used_up(house, request_of(proof_of(EAST, other.fingerprint(), house.holder(), number)), other.fingerprint())
    with pytest.raises(Conflict, match=f"used up this study's requests on the ledger: {house.contract.holder}"):
        house.budget(house.open(other)).reserve(other.fingerprint(), HOSPITALS, COST)


def test_a_hospital_signs_for_the_approved_coordinator_and_one_reservation_only(house: House) -> None:
    house.open()
    memory = AnsweredRounds(house.folder / "north.db")
    own, study, account = house.own("north", memory), STUDY.fingerprint(), house.contract.holder
    proof = proof_of(EAST, study, house.holder(), 0)
    signed = own.sign_reservation(STUDY, 0, proof, account)
    message = house.contract.reserve_message(request_of(proof), study, COHORT, HOSPITALS, COST, holder=account)
    bls.verify(seeded("north").bls_public_key, message, signed.signature)
    assert own.sign_reservation(STUDY, 0, proof, account) == signed
    stranger = "0x" + "11" * 20
    for number, wrong, holder in (
        (0, proof_of(IDENTITIES["south"], study, house.holder(), 0), account),
        (1, proof, account),
        (0, proof, stranger),
        (0, proof_of(EAST, bytes(32), house.holder(), 0), account),
        (-1, proof, account),
        (8, proof_of(EAST, study, house.holder(), 8), account),
        (0, b"", account),
        (0, proof, "0x11"),
    ):
        with pytest.raises(NotAuthentic):
            own.sign_reservation(STUDY, number, wrong, holder)
    with pytest.raises(RoundRefused, match="another reservation"):  # the first may still be used
        own.sign_reservation(STUDY, 1, proof_of(EAST, study, house.holder(), 1), account)
    again = house.own("north", AnsweredRounds(house.folder / "north.db"))  # another process of the hospital
    with pytest.raises(RoundRefused):
        again.sign_reservation(STUDY, 1, proof_of(EAST, study, house.holder(), 1), account)
    used_up(house, request_of(proof), bytes(32))
    assert own.sign_reservation(STUDY, 1, proof_of(EAST, study, house.holder(), 1), account) != signed


def test_a_hospital_signs_no_more_than_it_has_and_settles_nothing_but_its_own_study(house: House) -> None:
    sites = house.open()
    house.contract.cap_privacy("south", COHORT, COST - 1, sign=sign_as({"south": seeded("south")}))
    with pytest.raises(BudgetExhausted, match=f"south has {COST - 1} millionths"):
        house.budget(sites).reserve(STUDY.fingerprint(), HOSPITALS, COST)
    assert house.spent() == [(0, 0)] * 3
    keys = {name: seeded(name) for name in (*HOSPITALS, "mallory")}
    foreign = HeldKeysBudget(house.contract, keys).reserve(b"n" * 32, ["east", "north"], 5)
    for number in (0, foreign, foreign + 1):
        with pytest.raises(NotPaid, match="no live reservation"):
            sites[1].sign_settlement(number, committed=True)
    assert house.contract.reservation(foreign).state is bindings.ReservationState.RESERVED


def test_a_hospital_that_signs_something_else_is_named_and_nothing_is_reserved(house: House) -> None:
    sites = house.open()

    class Liar:
        name = "south"

        def sign_reservation(self, *_: object) -> BudgetSignature:
            keys = seeded("south")
            return BudgetSignature(keys.bls_public_key, bls.sign(keys.bls_secret_key, b"something else"))

        def sign_settlement(self, *_: object, **__: object) -> BudgetSignature:
            return BudgetSignature(b"", b"")

    lying = ConsentedBudget(house.contract, EAST, [*sites[:2], Liar()])
    with pytest.raises(ContributionRefused, match="south signed something else"):
        lying.reserve(STUDY.fingerprint(), HOSPITALS, COST)
    with pytest.raises(Conflict, match="1 of the study's 3 hospitals are not connected"):
        house.budget(sites[:2]).reserve(STUDY.fingerprint(), HOSPITALS, COST)
    assert house.spent() == [(0, 0)] * 3
    number = house.budget(sites).reserve(STUDY.fingerprint(), HOSPITALS, COST)
    with pytest.raises(ContributionRefused, match="south signed something else"):
        lying.commit(number)
    assert house.spent() == [(COST, 0)] * 3


def test_a_hospital_away_leaves_the_charge_reserved_until_it_is_back(house: House) -> None:
    sites = house.open()
    budget = house.budget(sites)
    house.channels["north"].down = True
    with pytest.raises(RoundAborted, match="north"):
        budget.reserve(STUDY.fingerprint(), HOSPITALS, COST)
    assert house.spent() == [(0, 0)] * 3
    house.channels["north"].down = False
    number = budget.reserve(STUDY.fingerprint(), HOSPITALS, COST)  # south had signed before; it says the same again
    house.channels["south"].down = True
    with pytest.raises(RoundAborted, match="south"):
        budget.burn(number)
    assert house.spent() == [(COST, 0)] * 3
    house.channels["south"].down = False
    budget.burn(number)
    assert house.spent() == [(0, COST)] * 3
    assert all(name_id(name) in house.contract.reservation(number).hospital_ids for name in HOSPITALS)
