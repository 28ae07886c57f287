"""The audit trail with its real parts: log, witnesses, chain, keyring, permits."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.access_events import read_by_a_clinician
from tests.first_kek import with_first_kek
from twinward.access.errors import PermitInvalid
from twinward.access.interfaces import AccessRequest, Permit, Principal
from twinward.access.permits import PermitAuthority
from twinward.audit.errors import (
    EventErased,
    EventNotLoggable,
    LogNotWritten,
    LogTampered,
    NoSuchEvent,
    NotCosigned,
)
from twinward.audit.events import codec
from twinward.audit.models import AccessEvent, Filters, RowState
from twinward.audit.reader import AuditReader
from twinward.audit.service import Audit
from twinward.core.clock import FixedClock
from twinward.core.errors import BadInput, TwinwardError, Unavailable
from twinward.core.vocabulary import Action, Purpose, Role, TwinId
from twinward.vault.errors import TwinNotFound
from twinward.vault.keys.keyring import Keyring
from twinward_crypto.errors import ProviderLocked
from twinward_crypto.keys import TenantId
from twinward_crypto.testing.memory_provider import MemoryKeyProvider
from twinward_ledger.chains.embedded import EmbeddedChain
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.errors import InvalidProof
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.merkle import leaf_hash
from twinward_ledger.proofs.bundle import ProofBundle
from twinward_ledger.proofs.verifier import verify_bundle
from twinward_ledger.testing.consortium import Consortium, open_consortium

ANNA, BERT = TwinId("01941f29-7c00-7000-8000-000000000001"), TwinId("01941f29-7c00-7000-8000-000000000002")
EVENT = read_by_a_clinician(ANNA)
NO_TWIN = replace(EVENT, twin=None, action=Action.QUERY, categories=(), agent="vendor-1", role=Role.VENDOR, unit="")


@dataclass
class House:
    """Everything an event walks through."""

    consortium: Consortium
    keyring: Keyring
    audit: Audit
    reader: AuditReader[Permit]
    authority: PermitAuthority

    def permit(self, twin: TwinId | None = None, action: Action = Action.AUDIT) -> Permit:
        principal = Principal("officer-1", Role.OFFICER)
        return self.authority.issue(AccessRequest(principal, action, Purpose.COMPLIANCE, twin), 0)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Cosigned, without a chain."""
    with open_house(tmp_path, None) as house:
        yield house


@pytest.fixture
def anchored(tmp_path: Path) -> Iterator[House]:
    """With the contracts on an embedded chain."""
    chain = EmbeddedChain(tmp_path / "chain.db", now_s=lambda: FixedClock().now_ms() // 1000)
    with open_house(tmp_path, chain) as house:
        yield house
    chain.close()


@contextmanager
def open_house(tmp_path: Path, chain: ChainClient | None) -> Iterator[House]:
    clock = FixedClock()
    consortium = open_consortium(tmp_path, chain=chain)
    keyring = Keyring(tmp_path / "keyring.db", with_first_kek(MemoryKeyProvider()), TenantId("st-anna"), clock)
    keyring.reserve([ANNA, BERT])
    authority = PermitAuthority(clock)
    audit = Audit.through(consortium.anchorer, keyring)
    yield House(consortium, keyring, audit, AuditReader(audit, authority), authority)
    keyring.close()
    consortium.close()


# --- writing ---------------------------------------------------------------------------------------------------------
def test_events_are_logged_in_order(house: House) -> None:
    logged = house.audit.record([EVENT, NO_TWIN, EVENT])
    assert [one.index for one in logged] == [0, 1, 2]
    assert [one.event for one in logged] == [EVENT, NO_TWIN, EVENT]
    assert [one.leaf_hash for one in logged] == [house.consortium.log.store.node(0, index) for index in range(3)]
    assert house.audit.record([]) == []
    kinds = [Leaf.decode(leaf).kind for leaf in house.consortium.log.store.leaves(0, 3)]
    assert kinds == [LeafKind.ACCESS, LeafKind.NODE, LeafKind.ACCESS]


def test_files_show_nothing_of_an_event(house: House, tmp_path: Path) -> None:
    house.audit.record([EVENT])
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.name.startswith("log.db"))
    for secret in ("dr-osei", "ward 4", "clinician", "treatment", "TREAT", "AuditEvent", ANNA):
        assert secret.encode() not in stored


def test_equal_events_have_unequal_leaves(house: House) -> None:
    one, other = house.audit.record([EVENT, EVENT])
    assert one.leaf_hash != other.leaf_hash


def test_sealed_lengths_are_bucketed(house: House) -> None:
    house.audit.record([replace(EVENT, reason="x" * length) for length in range(8)])
    assert len({len(house.consortium.log.store.entry(index).body) for index in range(8)}) == 1


def test_a_log_that_cannot_be_written_refuses(house: House) -> None:
    house.consortium.log.store.close()
    with pytest.raises(LogNotWritten):
        house.audit.record([EVENT])


@pytest.mark.parametrize("error", [Unavailable("no"), ProviderLocked("no"), TwinwardError("no")])
def test_keys_that_do_not_answer_refuse(house: House, error: Exception) -> None:
    class Locked:
        """A key service that is there and does not open."""

        def audit_key(self, twin: TwinId | None) -> bytes:
            raise error

        tag = house.keyring.tag

    with pytest.raises(LogNotWritten):
        Audit.through(house.consortium.anchorer, Locked()).record([EVENT])
    assert house.consortium.log.store.size() == 0


@pytest.mark.parametrize(
    "bad",
    [
        replace(EVENT, reason="\ud800"),
        replace(EVENT, reason="x" * 70_000),
        replace(EVENT, decision="maybe"),
        replace(EVENT, at_ms=10**15),
        replace(EVENT, at_ms=-60_000),
    ],
    ids=["lone surrogate", "too long", "no decision", "far future", "before the epoch"],
)
def test_one_event_that_has_no_form_and_none_is_written(house: House, bad: AccessEvent) -> None:
    with pytest.raises((EventNotLoggable, LogNotWritten)):
        house.audit.record([EVENT, bad])
    assert house.consortium.log.store.size() == 0


def test_an_attempt_on_a_twin_that_never_was_is_logged_and_makes_no_key(house: House) -> None:
    nobody = TwinId("01941f29-7c00-7000-8000-0000000000ff")
    house.audit.record([replace(EVENT, twin=nobody, decision="deny")])
    (row,) = house.reader.events(house.permit()).rows
    assert row.event is not None
    assert row.event.twin == nobody
    with pytest.raises(TwinNotFound):
        house.keyring.audit_key(nobody)


def test_an_attempt_on_a_shredded_twin_is_logged_too(house: House) -> None:
    house.audit.record([EVENT])
    house.keyring.shred(ANNA)
    house.audit.record([replace(EVENT, decision="deny")])
    rows = house.reader.of_twin(house.permit(ANNA), ANNA).rows
    assert [(row.index, row.state) for row in rows] == [(1, RowState.OPEN), (0, RowState.ERASED)]


# --- reading ---------------------------------------------------------------------------------------------------------
def test_events_come_back_newest_first(house: House) -> None:
    events = [replace(EVENT, at_ms=EVENT.at_ms + n, twin=(ANNA, BERT, None)[n % 3]) for n in range(10)]
    house.audit.record(events)
    page = house.reader.events(house.permit(), limit=4)
    assert [row.event for row in page.rows] == events[:5:-1]
    assert [row.twin for row in page.rows] == [ANNA, None, BERT, ANNA]
    assert page.before == 6
    rest = house.reader.events(house.permit(), before=page.before, limit=100)
    assert [row.event for row in rest.rows] == events[5::-1]
    assert rest.before is None
    assert house.reader.event(house.permit(), 3).event == events[3]


def test_filters_meet(house: House) -> None:
    house.audit.record([EVENT, replace(EVENT, decision="deny"), NO_TWIN, replace(EVENT, twin=BERT, agent="nurse-2")])

    def found(**wanted: Any) -> list[int]:
        return [row.index for row in house.reader.events(house.permit(), filters=Filters(**wanted)).rows]

    assert found(twin=ANNA) == [1, 0]
    assert found(twin=ANNA, decision="deny") == [1]
    assert found(role=Role.CLINICIAN) == [3, 1, 0]
    assert found(action=Action.QUERY, decision="permit") == [2]
    assert found(agent="nurse-2") == [3]
    assert found(agent="nobody") == []
    assert found(agent="nurse-2", twin=ANNA) == []
    assert [row.index for row in house.reader.of_twin(house.permit(BERT), BERT).rows] == [3]


def test_nothing_is_read_without_the_right_permit(house: House) -> None:
    house.audit.record([EVENT])
    house.audit.checkpoint_and_anchor()
    forged = Permit(house.permit().request, 0, house.permit().expires_at_ms, bytes(32))
    for permit in (forged, house.permit(action=Action.READ), house.permit(ANNA)):
        for read in (
            lambda permit=permit: house.reader.events(permit),
            lambda permit=permit: house.reader.event(permit, 0),
            lambda permit=permit: house.reader.disclose(permit, 0),
            lambda permit=permit: house.reader.of_twin(permit, BERT),
        ):
            with pytest.raises(PermitInvalid):
                read()


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_pages_are_bounded(house: House, limit: int) -> None:
    with pytest.raises(BadInput):
        house.reader.events(house.permit(), limit=limit)


def test_no_such_event(house: House) -> None:
    for read in (house.audit.proofs.inclusion, lambda n: house.reader.event(house.permit(), n)):
        for index in (-1, 0, 2**70):
            with pytest.raises(NoSuchEvent):
                read(index)
    house.audit.record([EVENT])
    with pytest.raises(NoSuchEvent):  # not under a checkpoint yet
        house.audit.proofs.inclusion(0)


# --- proving ---------------------------------------------------------------------------------------------------------
def test_a_disclosed_event_convinces_an_auditor(anchored: House) -> None:
    anchored.audit.record([NO_TWIN, EVENT, NO_TWIN])
    assert anchored.audit.checkpoint_and_anchor().problem == ""
    policy = replace(anchored.consortium.policy(), anchor_required=True)
    bundle = ProofBundle.parse(anchored.reader.disclose(anchored.permit(), 1).encode())
    verdict = verify_bundle(bundle, policy)
    assert verdict.event is not None
    assert codec.decode(verdict.event, anchored.consortium.log.origin) == EVENT
    assert bundle.opening is not None
    other = replace(bundle, opening=replace(bundle.opening, event=bundle.opening.event.replace(b"osei", b"evil")))
    with pytest.raises(InvalidProof):
        verify_bundle(other, policy)


def test_a_proof_without_disclosure_says_nothing(house: House) -> None:
    house.audit.record([EVENT])
    house.audit.checkpoint_and_anchor()
    bundle = house.audit.proofs.inclusion(0)
    assert verify_bundle(bundle, house.consortium.policy()).event is None
    assert b"osei" not in bundle.encode()


def test_the_proof_of_an_anchored_event_never_changes(anchored: House) -> None:
    anchored.audit.record([EVENT])
    anchored.audit.checkpoint_and_anchor()
    first = anchored.audit.proofs.inclusion(0)
    anchored.audit.record([EVENT])
    anchored.audit.checkpoint_and_anchor()
    assert anchored.audit.proofs.inclusion(0) == first


@pytest.mark.parametrize("how", ["shred the key", "erase the body"])
def test_an_erased_event_is_gone_and_still_proven(house: House, how: str) -> None:
    house.audit.record([EVENT, NO_TWIN])
    house.audit.checkpoint_and_anchor()
    if how == "shred the key":
        house.keyring.shred(ANNA)
    else:
        house.consortium.log.store.erase_body(0)
    row = house.reader.event(house.permit(), 0)
    assert (row.state, row.event) == (RowState.ERASED, None)
    assert row.minute_ms == EVENT.at_ms // 60_000 * 60_000
    assert [row.index for row in house.reader.of_twin(house.permit(ANNA), ANNA).rows] == [0]
    with pytest.raises(EventErased):
        house.reader.disclose(house.permit(), 0)
    verify_bundle(house.audit.proofs.inclusion(0), house.consortium.policy())
    report = house.audit.verify(deep=True)
    assert (report.opened, report.erased) == (1, 1)


# --- the state of the trail ------------------------------------------------------------------------------------------
def test_status_follows_the_trail(anchored: House) -> None:
    empty = anchored.audit.status()
    assert (empty.size, empty.signed_size, empty.cosigned, empty.anchored_block, empty.pending) == (0, 0, 0, None, 0)
    anchored.audit.record([EVENT] * 3)
    assert anchored.audit.status().pending == 3
    anchored.audit.checkpoint_and_anchor()
    anchored.audit.record([EVENT])
    status = anchored.audit.status()
    assert (status.size, status.signed_size, status.anchored_size, status.pending) == (4, 3, 3, 1)
    assert (status.witnesses, status.cosigned, status.quorum) == (3, 3, 2)
    assert status.anchored_block is not None


def test_too_few_witnesses_are_reported_with_their_reasons(house: House) -> None:
    house.audit.record([EVENT])
    for state in house.consortium.states[:2]:
        state.close()
    with pytest.raises(NotCosigned, match=r"witness-0\.example"):
        house.audit.checkpoint_and_anchor()


def test_a_store_that_is_gone_is_unavailable(house: House) -> None:
    house.audit.record([EVENT])
    house.consortium.log.store.close()
    for use in (
        house.audit.status,
        house.audit.checkpoint_and_anchor,
        lambda: house.audit.proofs.inclusion(0),
        house.audit.verify,
        lambda: house.reader.events(house.permit()),
        lambda: house.reader.event(house.permit(), 0),
        lambda: house.audit.verify(Path("/no/such/log.db")),
    ):
        with pytest.raises(Unavailable):
            use()


# --- tampering -------------------------------------------------------------------------------------------------------
@pytest.fixture
def copied(house: House, tmp_path: Path) -> Path:
    """A copy of a log of 20 events, checkpoints at 5 and 15."""
    for count in (5, 10, 5):
        house.audit.record([replace(EVENT, at_ms=EVENT.at_ms + n) for n in range(count)])
        if count != 20:
            house.audit.checkpoint_and_anchor()
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in tmp_path.glob("log.db*"):
        shutil.copy(file, folder)
    return folder / "log.db"


def tamper(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_an_honest_copy_verifies(house: House, copied: Path) -> None:
    report = house.audit.verify(copied, deep=True)
    assert (report.size, report.opened, report.erased) == (20, 20, 0)


@pytest.mark.parametrize("index", [0, 7, 14, 19])
def test_a_tampered_copy_is_caught_with_its_first_bad_index(house: House, copied: Path, index: int) -> None:
    tamper(copied, f"UPDATE leaves SET leaf = zeroblob(38) WHERE idx = {index}")
    with pytest.raises(LogTampered) as caught:
        house.audit.verify(copied)
    assert caught.value.first_bad_index == index
    assert house.audit.verify().size == 20


@pytest.mark.parametrize("index", [1, 6, 11])
def test_bodies_name_the_exact_leaf_where_hashes_were_rewritten_too(house: House, copied: Path, index: int) -> None:
    leaves = list(house.consortium.log.store.leaves(0, 20))
    leaves[index] = Leaf(LeafKind.NODE, 0, bytes(32)).encode()
    rewrite(copied, leaves)
    with pytest.raises(LogTampered) as caught:
        house.audit.verify(copied)
    assert caught.value.first_bad_index == index


def rewrite(path: Path, leaves: list[bytes]) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("UPDATE leaves SET leaf = ? WHERE idx = ?", [(leaf, n) for n, leaf in enumerate(leaves)])
        connection.execute("UPDATE tiles SET hashes = ? WHERE id = 0", (b"".join(map(leaf_hash, leaves)),))


def test_a_copy_that_forgot_its_checkpoints_is_held_against_ours(house: House, copied: Path) -> None:
    tamper(
        copied,
        "DELETE FROM checkpoints",
        "DELETE FROM leaves WHERE idx >= 10",
        "UPDATE head SET size = 10",
        "UPDATE tiles SET hashes = substr(hashes, 1, 320) WHERE id = 0",
    )
    with pytest.raises(LogTampered) as caught:
        house.audit.verify(copied)
    assert caught.value.first_bad_index == 10


def test_swapped_bodies_are_found_by_the_deep_check(house: House, copied: Path) -> None:
    tamper(
        copied,
        "UPDATE bodies SET body = (SELECT body FROM bodies WHERE idx = 4) WHERE idx = 3",
    )
    assert house.audit.verify(copied).size == 20
    with pytest.raises(LogTampered) as caught:
        house.audit.verify(copied, deep=True)
    assert caught.value.first_bad_index == 3


def test_a_damaged_row_is_shown_as_such(house: House, tmp_path: Path) -> None:
    house.audit.record([EVENT, EVENT])
    house.audit.checkpoint_and_anchor()
    tamper(tmp_path / "log.db", "UPDATE bodies SET body = x'01' WHERE idx = 1")
    states = [row.state for row in house.reader.events(house.permit()).rows]
    assert states == [RowState.DAMAGED, RowState.OPEN]
    assert [row.state for row in house.reader.select(house.permit(), Filters(agent=EVENT.agent), stop=2)] == states
    with pytest.raises(LogTampered):
        house.reader.disclose(house.permit(), 1)


def test_an_erased_events_body_cannot_hide_another_event(house: House, tmp_path: Path) -> None:
    """An attacker lays a shredded patient's body over an event: it must not pass for erased."""
    house.audit.record([EVENT, replace(EVENT, twin=BERT)])
    house.keyring.shred(ANNA)
    tamper(tmp_path / "log.db", "UPDATE bodies SET body = (SELECT body FROM bodies WHERE idx = 0) WHERE idx = 1")
    states = [row.state for row in house.reader.events(house.permit()).rows]
    assert states == [RowState.DAMAGED, RowState.ERASED]
    assert [row.state for row in house.reader.select(house.permit(), Filters(agent=EVENT.agent), stop=2)] == states


def test_a_file_that_is_no_log_is_unavailable(house: House, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"x" * 5000)
    with pytest.raises(Unavailable):
        house.audit.verify(tmp_path / "other")


def test_a_rewritten_live_log_makes_no_checkpoint(house: House, tmp_path: Path) -> None:
    house.audit.record([EVENT] * 3)
    house.audit.checkpoint_and_anchor()
    tamper(tmp_path / "log.db", "UPDATE tiles SET hashes = zeroblob(96) WHERE id = 0")
    with pytest.raises(LogTampered):
        house.audit.checkpoint_and_anchor()
    with pytest.raises(LogTampered):
        house.audit.verify()
