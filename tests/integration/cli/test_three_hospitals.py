"""Three hospitals, each with a home, a key and a chain account of its own, act together: each command a process."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.anvil import FUNDED_KEY, Anvil, running_anvil
from tests.chains import rpc
from tests.integration.cli.conftest import OFFICER, PASSWORD
from twinward.consortium.membership import Consortium, WitnessCard, founder_of
from twinward.core.config import FILE_NAME, Settings
from twinward.federation.models import COHORT
from twinward.node import create_node
from twinward_crypto import bls
from twinward_ledger.chains import open_chain
from twinward_ledger.chains.rpc import RpcChain

pytestmark = pytest.mark.slow

NAMES = ("st-anna", "northgate", "lakeside")


@dataclass(frozen=True)
class Member:
    name: str
    home: Path

    def asked(self, *arguments: str, code: int = 0) -> Any:
        """A command in a process of its own; its answer, or what it complains of."""
        command = [sys.executable, "-m", "twinward", *arguments, "--home", str(self.home)]
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout) if code == 0 else done.stdout + done.stderr


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Member]]:
    """Each was founded alone; then one founds the consortium of all three, from public keys, on a chain they share."""
    folder = tmp_path_factory.mktemp("three")
    with running_anvil() as anvil:
        founders, homes, keys, accounts = [], [], {}, []
        for name in NAMES:
            home, key_file = folder / name, folder / f"{name}.key"
            key_file.write_text(secrets.token_hex(32))
            key_file.chmod(0o600)
            chain = open_chain(anvil.url, chain_id=anvil.chain_id, key=bytes.fromhex(key_file.read_text()))
            rpc(anvil, "anvil_setBalance", chain.sender, hex(10**20))
            accounts.append(chain.sender)
            chain.close()
            settings = Settings.load(home).model_copy(
                update={
                    "tenant": name,
                    "witnesses": (name,),
                    "quorum": 1,
                    "chain": anvil.url,
                    "chain_id": anvil.chain_id,
                    "chain_key_file": key_file,
                }
            )
            node = create_node(settings)
            try:
                keys[name] = node.identity.witness_keys()
                founders.append(founder_of(name, keys[name]))
                node.accounts.add_person(OFFICER, PASSWORD)
            finally:
                node.close()
            assert (home / FILE_NAME).is_file()
            homes.append(Member(name, home))
        agreed = folder / "consortium.json"
        made = Consortium.found(RpcChain(anvil.url, FUNDED_KEY, anvil.chain_id), agreed, founders, 2)
        made.keys.update(keys)  # what all three agree on while they found it
        for name in NAMES:
            made.cap_privacy(name, COHORT, 2_000_000)
        for call in made.membership(accounts[0], admit=True):
            made.change(call)
        made.chain.close()
        hand_on(agreed, homes)
        yield homes


def passed_on_the_chain(home: Path, days: float) -> None:
    settings = Settings.load(home)
    anvil = Anvil(settings.chain, settings.chain_id)
    rpc(anvil, "evm_increaseTime", round(days * 86_400))
    rpc(anvil, "evm_mine")


def hand_on(agreed: Path, members: list[Member]) -> None:
    for one in members:
        (one.home / "consortium.json").write_bytes(agreed.read_bytes())


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_they_lend_a_ventilator_and_settle_a_dispute(members: list[Member], tmp_path: Path) -> None:
    anna, north, lake = members
    assert "exchange open" in north.asked("exchange", "list", code=4)
    anna.asked("exchange", "open")
    hand_on(anna.home / "consortium.json", members)
    offer = anna.asked("exchange", "offer", "ventilator", "4", "--until", in_days(7), "--as", "olga")["listing"]
    need = north.asked("exchange", "request", "ventilator", "3", "--until", in_days(5), "--as", "olga")["listing"]
    (best,) = lake.asked("exchange", "suggest")["suggestions"]
    assert (best["offer"], best["request"], best["quantity"]) == (offer, need, 3)
    promise = ["exchange", "promise", "--offer", str(offer), "--request", str(need), "--quantity", "3"]
    promise += ["--ship-by", in_days(1), "--receive-by", in_days(2), "--as", "olga"]
    assert "another hospital's step" in lake.asked(*promise, code=4)
    assert anna.asked(*promise)["state"] == "promised"
    assert "another hospital's step" in north.asked("exchange", "ship", "1", "--as", "olga", code=4)
    anna.asked("exchange", "ship", "1", "--as", "olga")
    assert "another hospital's step" in lake.asked("exchange", "receive", "1", "--arrived", "3", "--as", "olga", code=4)
    north.asked("exchange", "receive", "1", "--arrived", "2", "--as", "olga")
    assert "no part" in lake.asked("exchange", "dispute", "1", "--why", "x", "--as", "olga", code=4)
    anna.asked("exchange", "dispute", "1", "--why", "three left", "--as", "olga")
    half = tmp_path / "half.json"
    anna.asked("exchange", "settle", "1", "--arrived", "3", "--out", str(half), "--as", "olga")
    settle = ["exchange", "settle", "1", "--arrived", "3", "--with", str(half), "--as", "olga"]
    assert "not of the transfer's two hospitals" in lake.asked(*settle, code=2)
    north.asked(*settle)
    (seen,) = lake.asked("exchange", "list", "--all")["transfers"]
    assert (seen["state"], seen["arrived"]) == ("settled", 3)


def test_two_of_three_alert_and_the_third_sees_it(members: list[Member], tmp_path: Path) -> None:
    anna, north, lake = members
    anna.asked("outbreak", "open")
    hand_on(anna.home / "consortium.json", members)
    today = datetime.now(UTC).date()
    counts = (90, 110, 95, 105, 100, 120, 80, 100, 100, 171)
    sums = tmp_path / "sums.csv"
    sums.write_text("\n".join(f"{today - timedelta(days=9 - day)},{count}" for day, count in enumerate(counts)))
    signatures = []
    for one in (north, lake):
        signatures.append(tmp_path / f"{one.name}.json")
        watch = ["outbreak", "watch", str(sums), "--syndrome", "influenza", "--as", "olga"]
        assert one.asked(*watch, "--sign", str(signatures[-1]))["unusual"]
    assert "fewer hospitals" in lake.asked("outbreak", "raise", str(signatures[0]), "--as", "olga", code=4)
    made = lake.asked("outbreak", "raise", *map(str, signatures), "--as", "olga")
    assert anna.asked("outbreak", "alerts")["alerts"] == [made]
    said = subprocess.run(
        [sys.executable, "-m", "twinward", "audit", "list", "--as", "olga", "--home", str(anna.home)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "400"},
    ).stdout
    assert "signed a promise of resources to another hospital" in said
    assert "signed an alert of an outbreak" not in said  # each hospital's log tells its own steps


def test_they_count_together_each_in_its_own_vault(members: list[Member], tmp_path: Path) -> None:
    anna, north, lake = members
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    person = {"resourceType": "Patient", "id": "ann", "name": [{"family": "Ann"}]}
    bundle = tmp_path / "ann.json"
    bundle.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": person}]}))
    for one in (anna, north):  # a home without a patient takes part, too
        one.asked("twin", "import", str(bundle))
    keys = [tmp_path / f"{one.name}.key.json" for one in (north, lake)]
    for one, key in zip((north, lake), keys, strict=True):
        one.asked("study", "keygen", "--out", str(key))
    period, agreed = tmp_path / "period.json", tmp_path / "agreed.json"
    first = (datetime.now(UTC) - timedelta(days=3)).date()
    invite = ["outbreak", "invite", "days", "--from", str(first), "--days", "3", "--syndrome", "influenza"]
    invite += [part for name in NAMES for part in ("--hospital", name)]
    invite += ["--key", str(keys[0]), "--as", "olga", "--out", str(period)]
    assert "lakeside" in anna.asked(*invite, code=2)
    anna.asked(*invite, "--key", str(keys[1]))
    prove = ["--password-file", str(password), "--yes", "--as", "olga"]
    approvals = [tmp_path / f"{one.name}.approval.json" for one in members]
    for one, file in zip(members, approvals, strict=True):
        one.asked("outbreak", "approve", str(period), "--out", str(file), *prove)
    reserve = ["outbreak", "reserve", str(period), *map(str, approvals), "--as", "olga", "--out"]
    assert "st-anna reserves this period" in lake.asked(*reserve, str(tmp_path / "no.json"), code=4)
    release = ["outbreak", "release", str(agreed), "--as", "olga", "--out"]
    anna.asked(*reserve, str(agreed))
    shares = [tmp_path / f"{one.name}.share.json" for one in members]
    for one, file in zip(members, shares, strict=True):
        assert one.asked(*release, str(file))["days"] == 3
    add = ["outbreak", "sum", str(agreed), "--as", "olga", "--out", str(tmp_path / "sum.json")]
    assert "northgate is missing" in lake.asked(*add, str(shares[0]), str(shares[2]), code=7)
    summed = lake.asked(*add, *map(str, shares))
    assert len(summed["daily"]["influenza"]) == 3
    assert all(abs(count) < 12 * summed["noise"] ** 0.5 for count in summed["daily"]["influenza"]), "nobody consents"


def test_a_fourth_joins_later_and_takes_part(members: list[Member], tmp_path: Path) -> None:
    """Last of all: days pass on the chain. Its owner proposes, and nobody else's keys are asked for."""
    anna, north, _ = members
    home, key_file = tmp_path / "hilltop", tmp_path / "hilltop.key"
    key_file.write_text(secrets.token_hex(32))
    key_file.chmod(0o600)
    shared = Settings.load(anna.home)
    chain = open_chain(shared.chain, chain_id=shared.chain_id, key=bytes.fromhex(key_file.read_text()))
    rpc(Anvil(shared.chain, shared.chain_id), "anvil_setBalance", chain.sender, hex(10**20))
    account = chain.sender
    chain.close()
    changes = {"tenant": "hilltop", "witnesses": ("hilltop",), "quorum": 1, "chain_key_file": key_file}
    node = create_node(
        Settings.load(home).model_copy(update={"chain": shared.chain, "chain_id": shared.chain_id, **changes})
    )
    node.accounts.add_person(OFFICER, PASSWORD)
    node.close()
    hill, card = Member("hilltop", home), tmp_path / "hilltop.card.json"
    card.write_text(json.dumps(hill.asked("consortium", "card")))
    owner = Consortium.join(RpcChain(shared.chain, FUNDED_KEY, shared.chain_id), anna.home / "consortium.json")
    found = WitnessCard.parse(card.read_bytes()).founder()
    points = bls.public_key_to_eip2537(found.public_key), bls.signature_to_eip2537(found.possession)
    calls = [owner.witness_set.registering(found.name, *points), *owner.membership(account, admit=True)]
    proposed = [change.number for change in map(owner.change, calls) if change is not None]
    owner.chain.close()
    assert len(proposed) == len(calls)
    hand_on(anna.home / "consortium.json", [hill])
    offer = ["exchange", "offer", "ecmo", "1", "--until", in_days(30), "--as", "olga"]
    assert hill.asked(*offer, code=4), "nobody offers who was not registered"
    passed_on_the_chain(anna.home, 4)
    for number in proposed:
        north.asked("consortium", "enact", str(number))
    made = hill.asked(*offer)
    assert (made["hospital"], made["left"]) == ("hilltop", 1)
    assert any(one["resource"] == "ecmo" for one in north.asked("exchange", "list")["listings"])
