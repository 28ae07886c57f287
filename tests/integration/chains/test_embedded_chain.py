"""The embedded chain as a file: durable against kill -9, shared between processes, careful with its key."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from eth_typing import BlockNumber

from tests.chains import NOW_S
from twinward_contracts.artefacts import load
from twinward_contracts.bindings import BudgetLedger, ModelRegistry, WitnessSet
from twinward_ledger.chains import _account
from twinward_ledger.chains._pyevm import EmbeddedRules
from twinward_ledger.chains.embedded import DEFAULT_CHAIN_ID, EmbeddedChain
from twinward_ledger.errors import ChainUnavailable, TransactionReverted, WrongChain
from twinward_ledger.testing.consortium import models_on

KEY = bytes(31) + b"\x01"

# Registers models one after the other and says so on a line of its own, once the receipt is there.
WRITER = """
import hashlib, sys
from twinward_contracts.bindings import ModelRegistry
from twinward_ledger.chains.embedded import EmbeddedChain
chain = EmbeddedChain(sys.argv[1])
registry = ModelRegistry(chain, sys.argv[2])
while True:
    number = registry.count() + 1
    model = hashlib.sha256(number.to_bytes(8, "big")).digest()
    assert registry.carry_model(b"s" * 32, model, b"c" * 32, number, 0) == number
    print(number, flush=True)
"""


def test_a_new_chain_starts_at_block_zero(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path / "chain.db")
    assert (chain.block_number(), chain.chain_id) == (0, DEFAULT_CHAIN_ID)
    chain.close()


def test_the_key_decides_the_account_and_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "chain.db"
    chain = EmbeddedChain(path, key=KEY)
    assert chain.sender == "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"  # of the secret key 1, known everywhere
    chain.close()
    again = EmbeddedChain(path)
    assert again.sender == chain.sender
    again.close()
    other = EmbeddedChain(tmp_path / "other.db")
    assert other.sender != chain.sender
    other.close()


def test_whose_a_transaction_is_said_to_be_is_what_its_signature_says(tmp_path: Path) -> None:
    account = _account.create(tmp_path / "key")
    unsigned = EmbeddedRules.get_vm_class_for_block_number(BlockNumber(1)).get_transaction_builder()
    signed = account.sign(
        unsigned.new_unsigned_dynamic_fee_transaction(
            chain_id=DEFAULT_CHAIN_ID,
            nonce=3,
            max_priority_fee_per_gas=1,
            max_fee_per_gas=2,
            gas=21_000,
            to=bytes(20),
            value=0,
            data=b"data",
            access_list=(),
        ),
        DEFAULT_CHAIN_ID,
    )
    assert signed.sender == signed.get_sender() == account.address


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_files_are_for_their_owner_only(tmp_path: Path, mask: int) -> None:
    previous = os.umask(mask)
    try:
        chain = EmbeddedChain(tmp_path / "chain.db")
        BudgetLedger.deploy(chain, WitnessSet.deploy(chain).address)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert os.umask(mask) == mask
    finally:
        os.umask(previous)
    chain.close()
    assert {"chain.db", "chain.db.key"} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_no_message_or_repr_holds_the_key(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path / "chain.db", key=b"\x5a" * 32)
    assert "5a5a5a" not in repr(chain) + repr(vars(chain))
    chain.close()
    key_file = tmp_path / "chain.db.key"
    key_file.write_text("5a5a5a5a not a key", encoding="ascii")
    with pytest.raises(ChainUnavailable) as caught:
        EmbeddedChain(tmp_path / "chain.db")
    assert "5a5a" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_or_open_key_is_refused(tmp_path: Path) -> None:
    EmbeddedChain(tmp_path / "chain.db").close()
    key_file = tmp_path / "chain.db.key"
    key_file.chmod(0o640)
    with pytest.raises(ChainUnavailable, match="chmod 600"):
        EmbeddedChain(tmp_path / "chain.db")
    key_file.unlink()
    with pytest.raises(ChainUnavailable, match="restore"):
        EmbeddedChain(tmp_path / "chain.db")
    assert not key_file.exists()


def test_a_chain_keeps_its_id(tmp_path: Path) -> None:
    EmbeddedChain(tmp_path / "chain.db", chain_id=7).close()
    kept = EmbeddedChain(tmp_path / "chain.db")
    assert kept.chain_id == 7
    kept.close()
    with pytest.raises(WrongChain, match=r"chain 7.*8"):
        EmbeddedChain(tmp_path / "chain.db", chain_id=8)


def test_a_file_that_is_no_chain_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chain.db").write_bytes(b"this is no database, and long enough to tell" * 100)
    with pytest.raises(ChainUnavailable):
        EmbeddedChain(tmp_path / "chain.db")
    with pytest.raises(ChainUnavailable, match="folder"):
        EmbeddedChain(tmp_path / "nowhere" / "chain.db")
    with pytest.raises(ChainUnavailable):
        EmbeddedChain(tmp_path)


def test_a_closed_chain_is_unavailable(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path / "chain.db")
    budget = BudgetLedger.deploy(chain, WitnessSet.deploy(chain).address)
    chain.close()
    with pytest.raises(ChainUnavailable):
        chain.block_number()
    with pytest.raises(ChainUnavailable):
        budget.grant_queries("vendor", 1)


def test_a_refusal_leaves_no_block(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path / "chain.db")
    registry = models_on(chain)
    before = chain.block_number()
    with pytest.raises(TransactionReverted):
        registry.carry_model(b"s" * 32, b"m" * 32, b"c" * 32, 0, 0)
    assert chain.block_number() == before
    assert registry.carry_model(b"s" * 32, b"m" * 32, b"c" * 32, 1, 0) == 1
    chain.close()


def test_reads_leave_the_file_alone(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path / "chain.db")
    registry = models_on(chain)
    with sqlite3.connect(tmp_path / "chain.db") as database:
        before = database.execute("SELECT count(*), total(length(value)) FROM kv").fetchone()
        assert registry.count() == 0
        assert chain.events(registry.address, load("ModelRegistry"), "ModelRegistered") == []
        assert database.execute("SELECT count(*), total(length(value)) FROM kv").fetchone() == before
    database.close()
    chain.close()


def test_block_times_never_go_back(tmp_path: Path) -> None:
    now = [NOW_S]
    chain = EmbeddedChain(tmp_path / "chain.db", now_s=lambda: now[0])
    registry = models_on(chain)
    for number, moment in enumerate((NOW_S + 100, NOW_S, NOW_S + 50, NOW_S + 500), start=1):
        now[0] = moment
        registry.carry_model(b"s" * 32, bytes([number]) * 32, b"c" * 32, 1, 0)
    times = [registry.model(number).registered_at_s for number in range(1, 5)]
    assert times == [NOW_S + 100, NOW_S + 101, NOW_S + 102, NOW_S + 500]
    chain.close()


def test_two_clients_of_one_file_take_turns(tmp_path: Path) -> None:
    first = EmbeddedChain(tmp_path / "chain.db")
    registry = models_on(first)
    second = EmbeddedChain(tmp_path / "chain.db")
    for number in range(1, 7):
        client = (first, second)[number % 2]
        assert (
            ModelRegistry(client, registry.address).carry_model(b"s" * 32, bytes([number]) * 32, b"c" * 32, 1, 0)
            == number
        )
    assert first.block_number() == second.block_number() == 9  # three contracts and six versions
    first.close()
    second.close()


def test_a_torn_copy_is_not_read_as_a_chain(tmp_path: Path) -> None:
    """Half of the file, as a careless backup would leave it."""
    chain = EmbeddedChain(tmp_path / "chain.db")
    registry = models_on(chain)
    chain.close()
    whole = (tmp_path / "chain.db").read_bytes()
    (tmp_path / "torn.db").write_bytes(whole[: len(whole) // 2])
    shutil.copy(tmp_path / "chain.db.key", tmp_path / "torn.db.key")
    with pytest.raises(ChainUnavailable):
        ModelRegistry(EmbeddedChain(tmp_path / "torn.db"), registry.address).count()


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    """Ten writers in a row, each killed in the middle of its work."""
    path = tmp_path / "chain.db"
    chain = EmbeddedChain(path)
    address = models_on(chain).address
    deployed = chain.block_number()
    chain.close()
    seeded = random.Random(20261122)
    acknowledged = 0
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), address], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            assert first, "the writer ended by itself"
            time.sleep(seeded.uniform(0.0, 0.15))
            writer.send_signal(signal.SIGKILL)
            lines = [first, *writer.stdout.read().splitlines(keepends=True)]
        # A line cut short by the kill was never acknowledged.
        said = [int(line) for line in lines if line.endswith("\n")]
        assert said[0] > acknowledged
        acknowledged = max(acknowledged, *said)
        chain = EmbeddedChain(path)
        registry = ModelRegistry(chain, address)
        count = registry.count()
        # The last one may have become durable just before it could be said.
        assert acknowledged <= count <= acknowledged + 1
        assert [registry.model(number).epsilon_micros for number in range(1, count + 1)] == list(range(1, count + 1))
        assert chain.block_number() == deployed + count
        assert len(chain.events(address, load("ModelRegistry"), "ModelRegistered")) == count
        acknowledged = count
        chain.close()
    assert acknowledged >= 10
