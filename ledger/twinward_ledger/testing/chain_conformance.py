"""The suite every chain passes. A chain's test subclasses it and gives ``open_chain``."""

# ruff: noqa: S101 - pytest tests that ship with the package
from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from eth_utils.address import is_checksum_address

from twinward_contracts import artefacts
from twinward_contracts.bindings import (
    AccessAnchor,
    BreakGlass,
    BudgetLedger,
    PrivacyAccount,
    QuorumSignature,
    WitnessSet,
    name_id,
)
from twinward_ledger.anchoring.agreement import sign_as
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.errors import ChainError, TransactionReverted
from twinward_ledger.testing.consortium import hospitals_on, models_on, seeded

NOBODY = "0x000000000000000000000000000000000000dEaD"
_NO_SIGNATURE = QuorumSignature(1, (bytes(128),), bytes(256))


class ChainConformance:
    """What ``chain.ChainClient`` promises, as tests."""

    @pytest.fixture
    def open_chain(self) -> Callable[[], ChainClient]:
        """Opens the same chain each time it is called; subclasses give it."""
        raise NotImplementedError

    @pytest.fixture
    def chain(self, open_chain: Callable[[], ChainClient]) -> ChainClient:
        """A chain that can be written to."""
        return open_chain()

    @pytest.fixture
    def budget(self, chain: ChainClient) -> BudgetLedger:
        """A contract to talk to, with nothing in it, of a consortium that is being founded."""
        return BudgetLedger.deploy(chain, hospitals_on(chain, ("x", "y")).address)

    def test_it_says_who_and_where_it_is(self, chain: ChainClient) -> None:
        """An id above zero and a checksummed account."""
        assert chain.chain_id > 0
        assert is_checksum_address(chain.sender)

    def test_a_deployed_contract_answers(self, chain: ChainClient) -> None:
        """Constructor arguments arrive; the address is checksummed."""
        budget = BudgetLedger.deploy(chain, WitnessSet.deploy(chain).address, epoch_s=1234)
        assert is_checksum_address(budget.address)
        assert chain.call(budget.address, artefacts.load("BudgetLedger"), "epochSeconds") == 1234
        assert chain.call(budget.address, artefacts.load("BudgetLedger"), "isMember", chain.sender) is True

    def test_it_has_the_precompiles_of_prague(self, chain: ChainClient) -> None:
        """``WitnessSet`` runs a known answer through them when it is deployed."""
        assert WitnessSet.deploy(chain).epoch() == 0

    def test_a_receipt_means_that_it_happened(self, chain: ChainClient, budget: BudgetLedger) -> None:
        """It is in a block, cost gas and shows in the next answer."""
        before = chain.block_number()
        receipt = budget.grant_queries("vendor", 7)
        assert len(receipt.transaction_hash) == 32
        assert receipt.block_number > before
        assert chain.gas_used(receipt.block_number) >= receipt.gas_used
        assert chain.block_number() >= receipt.block_number
        assert chain.block_time_s() > 1_600_000_000
        assert receipt.gas_used > 21_000
        assert budget.remaining_queries("vendor", budget.current_epoch()) == 7

    def test_reopening_continues_the_chain(self, open_chain: Callable[[], ChainClient]) -> None:
        """Another client of the same chain sees what was written, and writes on."""
        first = open_chain()
        budget = BudgetLedger.deploy(first, WitnessSet.deploy(first).address)
        budget.grant_queries("vendor", 3)
        height = first.block_number()
        first.close()
        second = open_chain()
        again = BudgetLedger(second, budget.address)
        assert (second.chain_id, second.sender) == (first.chain_id, first.sender)
        assert second.block_number() >= height
        assert again.remaining_queries("vendor", again.current_epoch()) == 3
        again.grant_queries("vendor", 4)
        assert again.remaining_queries("vendor", again.current_epoch()) == 4

    def test_a_refusal_is_named_and_changes_nothing(self, budget: BudgetLedger) -> None:
        """The custom error's name and its arguments, decoded."""
        budget.grant_queries("vendor", 2)
        epoch = budget.current_epoch()
        with pytest.raises(TransactionReverted) as caught:
            budget.spend_queries("vendor", epoch, 3)
        assert caught.value.error == "QueryBudgetExceeded"
        assert caught.value.arguments == (name_id("vendor"), 2, 3)
        assert budget.remaining_queries("vendor", epoch) == 2

    def test_a_constructor_can_refuse(self, chain: ChainClient) -> None:
        """No contract is made."""
        with pytest.raises(TransactionReverted) as caught:
            BudgetLedger.deploy(chain, WitnessSet.deploy(chain).address, epoch_s=0)
        assert caught.value.error == "ZeroEpoch"

    def test_a_question_can_be_refused(self, chain: ChainClient) -> None:
        """Reads revert by name too."""
        registry = models_on(chain)
        with pytest.raises(TransactionReverted) as caught:
            registry.model(9)
        assert (caught.value.error, caught.value.arguments) == ("UnknownModel", (9,))

    def test_a_refusal_passed_on_from_another_contract_is_named(self, chain: ChainClient) -> None:
        """``AccessAnchor`` asks ``WitnessSet``, whose error is not in its own ABI."""
        anchor = AccessAnchor.deploy(chain, WitnessSet.deploy(chain).address)
        with pytest.raises(TransactionReverted) as caught:
            anchor.anchor(bytes(32), 1, bytes(32), 0, [], _NO_SIGNATURE)
        assert caught.value.error == "QuorumUnset"

    def test_a_panic_is_named(self, chain: ChainClient) -> None:
        """0x11: arithmetic overflow."""
        glass = BreakGlass.deploy(chain, WitnessSet.deploy(chain).address)
        with pytest.raises(TransactionReverted) as caught:
            chain.call(glass.address, artefacts.load("BreakGlass"), "overdue", 1, 2**256 - 1)
        assert (caught.value.error, caught.value.arguments) == ("Panic", (0x11,))

    def test_a_struct_comes_back_as_a_tuple(self, chain: ChainClient) -> None:
        """With addresses in checksummed form."""
        registry = models_on(chain)
        number = registry.carry_model(b"s" * 32, b"m" * 32, b"c" * 32, 1_500_000, 10_000_000)
        model = registry.model(number)
        assert (model.model_hash, model.card_hash, model.epsilon_micros) == (b"m" * 32, b"c" * 32, 1_500_000)
        assert model.registrar == chain.sender

    def test_events_come_oldest_first_and_of_one_contract_only(self, chain: ChainClient, budget: BudgetLedger) -> None:
        """Arrays and indexed arguments decode; ``from_block`` is inclusive."""
        BudgetLedger.deploy(chain, WitnessSet.deploy(chain).address).grant_queries("elsewhere", 1)
        budget.grant_queries("a", 1)
        second = budget.grant_queries("b", 2)
        artefact = artefacts.load("BudgetLedger")
        events = chain.events(budget.address, artefact, "QueriesGranted")
        assert [(event["vendor"], event["perEpoch"]) for event in events] == [(name_id("a"), 1), (name_id("b"), 2)]
        late = chain.events(budget.address, artefact, "QueriesGranted", from_block=second.block_number)
        assert [event["perEpoch"] for event in late] == [2]
        assert chain.events(budget.address, artefact, "QueriesGranted", from_block=second.block_number + 1) == []
        for hospital in ("x", "y"):
            budget.carry_privacy(hospital, "cohort", PrivacyAccount(10, 0, 0))
        budget.reserve("study", "cohort", ["y", "x"], 5, sign=sign_as({name: seeded(name) for name in ("x", "y")}))
        (reserved,) = chain.events(budget.address, artefact, "PrivacyReserved")
        assert tuple(reserved["hospitals"]) == tuple(sorted([name_id("x"), name_id("y")]))

    def test_what_does_not_fit_is_refused_before_anything_is_sent(
        self, chain: ChainClient, budget: BudgetLedger
    ) -> None:
        """Wrong arguments, functions, events and addresses are ``ChainError``, not a backend's own."""
        artefact = artefacts.load("BudgetLedger")
        before = chain.block_number()
        for arguments in ((), (b"v" * 32,), (b"short", 1, 2), (b"v" * 33, 1), (b"v" * 32, -1), (b"v" * 32, 2**64)):
            with pytest.raises(ChainError):
                chain.transact(budget.address, artefact, "grantQueries", *arguments)
        with pytest.raises(ChainError, match="noSuchFunction"):
            chain.call(budget.address, artefact, "noSuchFunction")
        with pytest.raises(ChainError, match="NoSuchEvent"):
            chain.events(budget.address, artefact, "NoSuchEvent")
        with pytest.raises(ChainError):
            chain.deploy(artefact)
        for address in ("", "0x", "not an address", budget.address[:-1]):
            with pytest.raises(ChainError):
                chain.call(address, artefact, "currentEpoch")
        assert chain.block_number() == before

    def test_an_address_without_a_contract_is_no_success(self, chain: ChainClient) -> None:
        """The machine itself would let a call to an empty address succeed."""
        artefact = artefacts.load("BudgetLedger")
        with pytest.raises(ChainError, match="no contract"):
            chain.transact(NOBODY, artefact, "grantQueries", b"v" * 32, 1)
        with pytest.raises(ChainError, match="no contract"):
            chain.call(NOBODY, artefact, "currentEpoch")

    def test_threads_may_share_a_client(self, chain: ChainClient, budget: BudgetLedger) -> None:
        """No transaction gets lost or is sent twice."""
        budget.grant_queries("vendor", 100)
        epoch = budget.current_epoch()
        failures: list[BaseException] = []

        def spend() -> None:
            try:
                for _ in range(3):
                    budget.spend_queries("vendor", epoch)
            except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=spend) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert budget.remaining_queries("vendor", epoch) == 100 - 12
        assert len(chain.events(budget.address, artefacts.load("BudgetLedger"), "QueriesSpent")) == 12
