"""A home that was made with an earlier release's contracts, whose owner alone could change them: nothing is trusted to
those, the node says what to do, and `consortium renew` takes over what was granted and spent."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.command_line import PROGRAM
from twinward.access.interfaces import Principal
from twinward.consortium.membership import Addresses
from twinward.core.config import CONSORTIUM_FILE, Settings
from twinward.core.errors import Conflict, Unavailable
from twinward.core.vocabulary import Role
from twinward.federation.models import COHORT
from twinward.node import create_node, open_node
from twinward.node.renewal import renew
from twinward_contracts.artefacts import Artefact
from twinward_contracts.bindings import AccessAnchor, WitnessSet, name_id
from twinward_crypto import bls
from twinward_ledger.errors import EarlierContracts

VECTORS = Path(__file__).parents[2] / "vectors" / "earlier_contracts"
TENANT = "st-anna"


def earlier(name: str) -> Artefact:
    """A contract as it was."""
    data = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return Artefact(name, data["abi"], bytes.fromhex(data["bytecode"].removeprefix("0x")))


@dataclass
class Old:
    """A home on earlier contracts in which something was granted, spent, trained, and anchored."""

    home: Path
    addresses: Addresses

    def cli(self, *arguments: str) -> Any:
        return CliRunner(env={"COLUMNS": "240", "TERM": "dumb"}).invoke(PROGRAM, [*arguments, "--home", str(self.home)])


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Old:
    home = tmp_path_factory.mktemp("old") / "home"
    node = create_node(Settings.load(home, tenant=TENANT))
    node.accounts.add_system(Principal("acme", Role.VENDOR, "Acme"))
    chain, owner = node.consortium.chain.chain, node.consortium.chain.sender
    witness_set = chain.deploy(earlier("WitnessSet"), owner)
    for name, keys in node.consortium.keys.items():
        key = bls.public_key_to_eip2537(keys.bls_public_key)
        proof = bls.signature_to_eip2537(keys.prove_possession())
        chain.transact(witness_set, earlier("WitnessSet"), "register", name_id(name), key, proof)
    chain.transact(witness_set, earlier("WitnessSet"), "setQuorum", 1)  # the owner alone, as it could
    addresses = Addresses(
        chain_id=chain.chain_id,
        witness_set=witness_set,
        access_anchor=AccessAnchor.deploy(chain, witness_set).address,
        budget_ledger=chain.deploy(earlier("BudgetLedger"), owner, 86_400),
        model_registry=chain.deploy(earlier("ModelRegistry"), owner),
        break_glass=chain.deploy(earlier("BreakGlass"), owner, 3600),
    )
    ledger, budgets = addresses.budget_ledger, earlier("BudgetLedger")
    chain.transact(ledger, budgets, "grantQueries", name_id("acme"), 9)
    epoch = chain.call(ledger, budgets, "currentEpoch")
    chain.transact(ledger, budgets, "spendQueries", name_id("acme"), epoch, 4, b"r" * 32)
    chain.transact(ledger, budgets, "capPrivacy", name_id(TENANT), name_id(COHORT), 1000)
    study = (name_id("study"), name_id(COHORT), [name_id(TENANT)], 300)
    chain.transact(ledger, budgets, "reserve", b"s" * 32, *study)
    registered = (name_id("study"), b"m" * 32, b"c" * 32, 3_000_000, 10**7)
    chain.transact(addresses.model_registry, earlier("ModelRegistry"), "register", *registered)
    (home / CONSORTIUM_FILE).write_text(json.dumps(asdict(addresses)), encoding="utf-8")
    node.close()
    return Old(home, addresses)


def test_nothing_is_trusted_to_them_and_the_log_goes_on(old: Old) -> None:
    with open_node(old.home) as node:
        node.heartbeat()
        outcome = node.audit.checkpoint_and_anchor()
        assert len(outcome.cosigned) == 3
        assert outcome.anchor is None
        assert "`twinward consortium renew`" in outcome.problem
        for ask in (
            lambda: node.consortium.budgets.current_epoch(),
            lambda: node.consortium.budgets.spend_queries("acme", 1),
            lambda: node.consortium.models.count(),
            lambda: node.consortium.break_glass().overdue(),
        ):
            with pytest.raises(EarlierContracts, match="their owner alone"):
                ask()
        with pytest.raises(Conflict, match="renew"):
            node.consortium.grant_queries("acme", 5)
        with pytest.raises(Unavailable):
            node.cohort.terms()
    for verb in (["node", "status"], ["consortium", "show"]):
        said = old.cli(*verb)
        assert said.exit_code == 4
        assert "twinward consortium renew" in said.output


def test_what_the_node_knows_by_itself_is_shown_all_the_same(old: Old) -> None:
    said = old.cli("node", "status")
    assert "twins     0, 0 shredded" in said.stdout
    assert "cosigned  by 3 of 3 witnesses" in said.stdout
    assert "`twinward consortium renew`" in said.stderr
    told = old.cli("node", "status", "--json")
    shown = json.loads(told.stdout)
    assert (told.exit_code, shown["consortium"], shown["log"]["cosigned"]) == (4, None, 3)
    assert shown["error"]["kind"] == "Conflict"
    assert "`twinward consortium renew`" in shown["error"]["message"]


def test_contracts_of_a_release_between_are_said_to_be_earlier_too(old: Old) -> None:
    """A witness set of this release's, and a registry that takes what nobody paid for."""
    path = old.home / CONSORTIUM_FILE
    kept = path.read_text(encoding="utf-8")
    with open_node(old.home) as node:
        chain = node.consortium.chain.chain
        fresh = WitnessSet.deploy(chain).address
        changed = {"witness_set": fresh, "access_anchor": AccessAnchor.deploy(chain, fresh).address}
    path.write_text(json.dumps({**json.loads(kept), **changed}), encoding="utf-8")
    try:
        said = old.cli("node", "status")
    finally:
        path.write_text(kept, encoding="utf-8")
    assert said.exit_code == 4
    assert "twins     0" in said.stdout
    assert "`twinward consortium renew`" in said.stderr


def test_a_set_swapped_under_the_contracts_is_no_consortium(old: Old) -> None:
    """A file that names new contracts beside the old anchor is not believed."""
    path = old.home / CONSORTIUM_FILE
    kept = path.read_text(encoding="utf-8")
    with open_node(old.home) as node:
        fresh = WitnessSet.deploy(node.consortium.chain.chain).address
    path.write_text(json.dumps({**json.loads(kept), "witness_set": fresh}), encoding="utf-8")
    try:
        with open_node(old.home) as node, pytest.raises(EarlierContracts):
            node.consortium.budgets.current_epoch()
    finally:
        path.write_text(kept, encoding="utf-8")


def test_renewing_takes_over_what_was_spent_and_anchors_anew(old: Old) -> None:
    file = old.home / CONSORTIUM_FILE
    opened = {"resource_exchange": old.addresses.budget_ledger, "outbreak_alert": old.addresses.budget_ledger}
    file.write_text(json.dumps(asdict(old.addresses) | opened), encoding="utf-8")  # a release that had both
    said = old.cli("consortium", "renew", "--yes", "--json")
    assert said.exit_code == 0, said.output
    done = json.loads(said.stdout)
    assert (done["vendors"], done["hospitals"], done["models"]) == (1, 1, 1)
    assert json.loads(Path(done["kept"]).read_text(encoding="utf-8")) == asdict(old.addresses) | opened
    with open_node(old.home) as node:
        consortium = node.consortium
        exchange, outbreaks = consortium.resource_exchange(), consortium.outbreak_alert()
        assert exchange is not None
        assert outbreaks is not None
        assert (exchange.listing_count(), outbreaks.count()) == (0, 0), "they begin anew"
        assert consortium.addresses.witness_set != old.addresses.witness_set
        assert consortium.witness_set.quorum() == node.settings.quorum  # its own, not what the old owner set
        epoch = consortium.budgets.current_epoch()
        assert consortium.budgets.remaining_queries("acme", epoch) == 5
        assert consortium.budgets.remaining_queries("acme", epoch + 1) == 9
        assert consortium.budgets.remaining_privacy(TENANT, COHORT) == 700
        assert consortium.models.model(1).model_hash == b"m" * 32
        outcome = node.audit.checkpoint_and_anchor()
        assert outcome.problem == ""
        with pytest.raises(Conflict, match="this release's"):
            renew(node)
    assert old.cli("node", "status").exit_code == 0
    assert old.cli("consortium", "renew", "--yes").exit_code == 4
