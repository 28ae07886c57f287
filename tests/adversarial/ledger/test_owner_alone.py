"""The account that founded a consortium, and a member of it, against the other hospitals: nobody changes it alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner

from tests.command_line import PROGRAM
from tests.held_keys import HeldKeysBudget
from twinward.consortium.standing import standing_of
from twinward.core.clock import FixedClock
from twinward.core.config import Settings
from twinward.core.errors import Conflict
from twinward.federation.models import COHORT
from twinward.node import Node, create_node
from twinward_contracts.artefacts import load
from twinward_contracts.bindings import PrivacyAccount, QuorumSignature, name_id
from twinward_crypto import bls
from twinward_ledger.anchoring.agreement import sign_as
from twinward_ledger.errors import TransactionReverted
from twinward_ledger.witness.witness import WitnessKeys

HOSPITALS = ("st-anna", "northgate", "mercy")
CAP = 1000
DAY_MS = 86_400_000


@dataclass
class Alone:
    """A node whose account founded the consortium; ``keys`` are all three hospitals', which it holds no more."""

    node: Node
    clock: FixedClock
    keys: dict[str, WitnessKeys]

    def standing(self) -> tuple[int, list[bool], int]:
        """Quorum, who is active, epoch."""
        witnesses = self.node.consortium.witness_set
        return witnesses.quorum(), [one.active for one in witnesses.witnesses()], witnesses.epoch()

    def with_quorum(self, act: Callable[[], Any]) -> Any:
        """Do something with the keys of all three."""
        self.node.consortium.keys = dict(self.keys)
        try:
            return act()
        finally:
            self.node.consortium.keys = {"st-anna": self.keys["st-anna"]}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    clock = FixedClock()
    home = tmp_path_factory.mktemp("alone") / "home"
    node = create_node(Settings.load(home, tenant="st-anna", witnesses=HOSPITALS), clock=clock)
    made = Alone(node, clock, dict(node.consortium.keys))
    for hospital in HOSPITALS:
        node.consortium.cap_privacy(hospital, COHORT, CAP)
    node.consortium.keys = {"st-anna": made.keys["st-anna"]}
    yield made
    node.close()


def test_the_owner_alone_sets_no_quorum_retires_nobody_and_grants_nothing(alone: Alone) -> None:
    before = alone.standing()
    consortium = alone.node.consortium
    assert before[:2] == (2, [True, True, True])
    assert consortium.witness_set.owner() == consortium.chain.sender
    own = sign_as({"st-anna": alone.keys["st-anna"]})
    for attack in (
        lambda: consortium.witness_set.set_quorum(1),
        lambda: consortium.witness_set.retire(1),
        lambda: consortium.witness_set.register("mallory", bytes(128), bytes(256)),
        lambda: consortium.budgets.grant_queries("acme", 2**63),
        lambda: consortium.budgets.cap_privacy("northgate", COHORT, 10**12),
        lambda: consortium.budgets.cap_privacy("st-anna", COHORT, 10**12, sign=own),
    ):
        with pytest.raises(TransactionReverted, match="NotAgreed"):
            attack()
    carried = PrivacyAccount(10**12, 0, 0)
    for attack in (
        lambda: consortium.budgets.carry_privacy("northgate", "new", carried),
        lambda: consortium.budgets.carry_queries("acme", 1, 1),
    ):
        with pytest.raises(TransactionReverted, match="NotFounding"):
            attack()
    assert alone.standing() == before
    assert consortium.budgets.queries_per_epoch("acme") == 0


def test_one_hospitals_signature_is_no_agreement(alone: Alone) -> None:
    consortium = alone.node.consortium
    call, secret = consortium.witness_set.setting_quorum(1), alone.keys["st-anna"].bls_secret_key
    key = bls.public_key_to_eip2537(bls.public_key(secret))
    signature = bls.signature_to_eip2537(bls.sign(secret, consortium.witness_set.agreement(call)))
    for quorum, refusal in (
        (QuorumSignature(1, (key,), signature), "QuorumNotReached"),
        (QuorumSignature(3, (key, key), signature), "KeyMismatch"),
        (QuorumSignature(0, (), bytes(256)), "QuorumNotReached"),
    ):
        with pytest.raises(TransactionReverted, match=refusal):
            consortium.witness_set.agree(call, quorum)
    assert alone.standing()[0] == 2


def test_a_member_reserves_burns_and_caps_no_other_hospitals_privacy(alone: Alone) -> None:
    budgets = alone.node.consortium.budgets
    left = budgets.remaining_privacy("northgate", COHORT)
    with pytest.raises(Conflict, match="are not here"):
        HeldKeysBudget(budgets).reserve(b"n" * 32, ["northgate"], left)
    with pytest.raises(TransactionReverted, match="KeyCountMismatch"):
        budgets.reserve("nobody-asked", COHORT, ["northgate"], left)
    posing = {**alone.keys, "northgate": alone.keys["st-anna"]}
    with pytest.raises(Conflict, match="another key than its witness"):
        HeldKeysBudget(budgets, posing).reserve(b"n" * 32, ["northgate"], left)
    for cap in (10**12, 1, 0):
        with pytest.raises(Conflict, match="key of northgate is not here"):
            alone.node.consortium.cap_privacy("northgate", COHORT, cap)
        with pytest.raises(TransactionReverted):
            budgets.cap_privacy("northgate", COHORT, cap, sign=sign_as(posing))
    assert budgets.privacy("northgate", COHORT) == PrivacyAccount(CAP, 0, 0)
    reservation = HeldKeysBudget(budgets, alone.keys).reserve(b"a" * 32, ["northgate"], 10)
    for settle in (budgets.burn, budgets.commit):
        with pytest.raises(TransactionReverted, match="KeyCountMismatch"):
            settle(reservation)
    assert budgets.privacy("northgate", COHORT) == PrivacyAccount(CAP, 10, 0)
    HeldKeysBudget(budgets, alone.keys).burn(reservation)


def test_what_the_owner_proposes_is_shown_waits_and_is_stopped_by_a_quorum(alone: Alone) -> None:
    consortium = alone.node.consortium
    proposed = consortium.change(consortium.witness_set.setting_quorum(1))
    assert proposed is not None
    assert proposed.due_s * 1000 >= alone.clock.now_ms() + 3 * DAY_MS - 1000
    (shown,) = standing_of(consortium, alone.node.known_names()).proposals
    assert shown.what == "WitnessSet.setQuorum with newQuorum 1"
    assert f"change {proposed.number} is proposed and can be enacted from 2026-01-04" in shown.sentence(
        alone.clock.now_ms()
    )
    with pytest.raises(Conflict, match="TooEarly"):
        consortium.enact(proposed.number)
    alone.with_quorum(lambda: consortium.cancel(proposed.number))
    assert standing_of(consortium, ()).proposals == ()
    alone.clock.advance(4 * DAY_MS)
    with pytest.raises(Conflict, match="NotProposed"):
        consortium.enact(proposed.number)
    assert alone.standing()[0] == 2


def test_what_everybody_saw_for_days_is_enacted_once_and_not_for_ever(alone: Alone) -> None:
    consortium = alone.node.consortium
    first, late = consortium.grant_queries("acme", 7), consortium.grant_queries("acme", 2**63)
    assert first is not None
    assert late is not None
    names = [*alone.node.known_names(), "acme"]
    assert standing_of(consortium, names).proposals[0].what == "BudgetLedger.grantQueries with vendor acme, perEpoch 7"
    alone.clock.advance(3 * DAY_MS + 5000)
    consortium.enact(first.number)
    assert consortium.budgets.queries_per_epoch("acme") == 7
    with pytest.raises(Conflict, match="NotProposed"):
        consortium.enact(first.number)
    alone.clock.advance(15 * DAY_MS)
    (shown,) = standing_of(consortium, names).proposals
    assert "has expired" in shown.sentence(alone.clock.now_ms())
    with pytest.raises(Conflict, match="TooLate"):
        consortium.enact(late.number)
    consortium.cancel(late.number)
    assert consortium.budgets.queries_per_epoch("acme") == 7


def test_status_names_every_proposal_and_who_may_change_what(alone: Alone) -> None:
    consortium, home = alone.node.consortium, str(alone.node.settings.home)
    proposed = consortium.change(consortium.witness_set.retiring(2))
    assert proposed is not None
    said = CliRunner(env={"COLUMNS": "240", "TERM": "dumb"}).invoke(PROGRAM, ["node", "status", "--home", home])
    assert said.exit_code == 0, said.output
    assert f"change {proposed.number} " in said.output
    assert "WitnessSet.retire with index 2" in said.output
    assert f"2 of 3 hospitals change it; what {consortium.chain.sender} proposes waits 3 days" in said.output
    told = CliRunner().invoke(PROGRAM, ["consortium", "show", "--json", "--home", home])
    shown = json.loads(told.stdout)
    assert (shown["quorum"], shown["witnesses"], shown["proposals"][0]["number"]) == (2, 3, proposed.number)
    consortium.cancel(proposed.number)


def test_hospitals_sign_what_the_contract_checks_and_no_anchor_is_an_agreement(alone: Alone) -> None:
    """The bytes are made here, never asked for; a contract's own view of them is held against that."""
    consortium, chain = alone.node.consortium, alone.node.consortium.chain
    seen: list[bytes] = []

    def record(ids: Any, message: bytes) -> Any:
        seen.append(message)
        return sign_as(alone.keys)(ids, message)

    budgets = consortium.budgets
    call = budgets.capping("mercy", COHORT, 5, sign=record)
    reservation = budgets.reserve("same", COHORT, ["mercy"], 1, sign=record, request=b"r" * 32)
    budgets.burn(reservation, sign=record)
    artefact, cohort, mercy = load("BudgetLedger"), name_id(COHORT), name_id("mercy")
    views = [
        chain.call(budgets.address, artefact, "capMessage", mercy, cohort, 5),
        chain.call(
            budgets.address, artefact, "reserveMessage", b"r" * 32, name_id("same"), cohort, [mercy], 1, chain.sender
        ),
        chain.call(budgets.address, artefact, "settleMessage", reservation, 3),
    ]
    assert seen == views
    asked = chain.call(consortium.witness_set.address, load("WitnessSet"), "agreementMessage", call.target, call.data())
    assert consortium.witness_set.agreement(call) == asked
    anchoring = consortium.anchor.cosigned_message(b"l" * 32, 1, bytes(32), 1)
    begins = {message[:32] for message in (*views, asked, anchoring)}
    assert len(begins) == 3
