"""No row is left out: the completeness map of a real log, its reports, erasure, and operators who lie."""

from __future__ import annotations

import base64
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.first_kek import with_first_kek
from tests.integration.audit.test_audit_trail import ANNA, BERT, EVENT, NO_TWIN
from twinward.access.errors import PermitInvalid
from twinward.access.interfaces import AccessRequest, Permit, Principal
from twinward.access.permits import PermitAuthority
from twinward.audit.errors import LogTampered, NoSuchEvent, NotCosigned
from twinward.audit.exports.document import AccessDocument
from twinward.audit.proofs.completeness import Completeness
from twinward.audit.reader import AuditReader
from twinward.audit.service import Audit
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Action, Purpose, Role, TwinId
from twinward.vault.keys.keyring import Keyring
from twinward_crypto.canonical import canonicalize
from twinward_crypto.errors import InvalidSignature
from twinward_crypto.keys import TenantId
from twinward_crypto.testing.memory_provider import MemoryKeyProvider
from twinward_ledger.completeness.interfaces import LoggedHead
from twinward_ledger.completeness.map import MapHead
from twinward_ledger.completeness.tree import MapTree
from twinward_ledger.errors import InvalidProof, LogCorrupt
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.log.fsck import fsck
from twinward_ledger.log.map_check import NOTHING_CHECKED
from twinward_ledger.log.store import Entry
from twinward_ledger.proofs.access_report import AccessReport, LoggedLeaf
from twinward_ledger.proofs.bundle import Opening, ProofBundle
from twinward_ledger.proofs.report_verifier import verify_report
from twinward_ledger.proofs.verifier import verify_bundle
from twinward_ledger.stores.completeness import open_map_store
from twinward_ledger.testing.consortium import Consortium, open_consortium

CARL = TwinId("01941f29-7c00-7000-8000-000000000003")


@dataclass
class House:
    """A cosigned log with a completeness map."""

    folder: Path
    consortium: Consortium
    keyring: Keyring
    completeness: Completeness
    audit: Audit
    reader: AuditReader[Permit]
    authority: PermitAuthority

    def access(self, *twins: TwinId | None) -> None:
        self.audit.record([NO_TWIN if twin is None else replace(EVENT, twin=twin) for twin in twins])

    def permit(self, twin: TwinId | None) -> Permit:
        request = AccessRequest(Principal("officer-1", Role.OFFICER), Action.AUDIT, Purpose.COMPLIANCE, twin)
        return self.authority.issue(request, 0)

    def document(self, twin: TwinId) -> AccessDocument:
        return self.reader.document(self.permit(twin), twin, hospital="St. Anna", at_ms=0)

    def check(self, report: AccessReport) -> tuple[int, ...]:
        """What any auditor finds: the indices of a report that holds."""
        parsed = AccessReport.parse(report.encode())
        assert parsed == report
        return tuple(row.index for row in verify_report(parsed, self.consortium.policy()).rows)

    def sealed(self, report: AccessReport) -> AccessReport:
        """As an operator would hand it out who lies, and holds the log's key."""
        return report.sealed(self.consortium.log.seal)


@contextmanager
def open_house(folder: Path, provider: MemoryKeyProvider) -> Iterator[House]:
    clock = FixedClock()
    consortium = open_consortium(folder)
    keyring = Keyring(folder / "keyring.db", with_first_kek(provider), TenantId("st-anna"), clock)
    keyring.reserve([ANNA, BERT, CARL])
    authority = PermitAuthority(clock)
    audit = Audit.through(consortium.anchorer, keyring, open_map_store(f"sqlite:{folder / 'log.db'}"))
    completeness = audit.completeness
    assert completeness is not None
    yield House(folder, consortium, keyring, completeness, audit, AuditReader(audit, authority), authority)
    completeness.close()
    keyring.close()
    consortium.close()


@pytest.fixture
def provider() -> MemoryKeyProvider:
    return MemoryKeyProvider()


@pytest.fixture
def house(tmp_path: Path, provider: MemoryKeyProvider) -> Iterator[House]:
    with open_house(tmp_path, provider) as house:
        yield house


@pytest.fixture
def filled(house: House) -> House:
    """Anna: 0, 2, 5; Bert: 1; nobody's: 3, 4."""
    house.access(ANNA, BERT, ANNA, None, None, ANNA)
    house.audit.checkpoint_and_anchor()
    return house


# --- what is proven ----------------------------------------------------------------------------------------------


def test_everybodys_accesses_and_nobody_elses(filled: House) -> None:
    for twin, expected in ((ANNA, (0, 2, 5)), (BERT, (1,)), (CARL, ())):
        document = filled.document(twin)
        assert filled.check(document.report) == expected
        assert [row.event and row.event.twin for row in document.rows] == [twin] * len(expected)
        assert (document.verdict.through, document.verdict.total) == (6, 4)


def test_a_report_is_written_as_the_canonical_form_of_all_its_members(filled: House) -> None:
    """Without rows, with a neighbour, with an erased event, sealed and not, and changed after it was written."""
    filled.keyring.shred(BERT)
    for twin in (ANNA, BERT, CARL):
        report = filled.document(twin).report
        for one in (report, replace(report, seal=None), replace(report, rows=report.rows[:1], subject='Ä"\u2028')):
            assert one.encode() == canonicalize(as_json(one))
            assert one.unsealed() == canonicalize(as_json(one) | {"seal": None})
        assert AccessReport.parse(report.encode()) == report


def as_json(report: AccessReport) -> dict[str, Any]:
    """A report as SPEC.md lays it out, member by member."""

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    def place(one: LoggedLeaf) -> dict[str, Any]:
        return {"index": str(one.index), "leaf": text(one.leaf), "path": list(map(text, one.path))}

    def opening(one: Opening | None) -> dict[str, str] | None:
        return None if one is None else {"key": text(one.key), "salt": text(one.salt), "event": text(one.event)}

    proof, near = report.proof, report.proof.neighbour
    return {
        "format": "twinward/accesses/1",
        "origin": report.origin,
        "subject": report.subject,
        "label_key": text(report.label_key),
        "head": text(report.head),
        "head_place": place(report.head_place),
        "map": {
            "count": str(proof.count),
            "root": text(proof.root),
            "path": [{"hash": text(hash_), "sum": str(total)} for hash_, total in proof.path],
            "neighbour": near and {"label": text(near.label), "root": text(near.root), "count": str(near.count)},
        },
        "rows": [place(row.place) | {"opening": opening(row.opening)} for row in report.rows],
        "checkpoint": report.note.decode(),
        "anchor": report.anchor and report.anchor.to_json(),
        "seal": None if report.seal is None else text(report.seal),
    }


def test_what_came_later_is_in_the_next_report_and_the_old_one_stands(filled: House) -> None:
    old = filled.document(ANNA).report
    filled.access(BERT, ANNA)
    assert filled.check(filled.document(ANNA).report) == (0, 2, 5)
    filled.audit.checkpoint_and_anchor()
    assert filled.check(filled.document(ANNA).report) == (0, 2, 5, 8)
    assert filled.check(old) == (0, 2, 5)


def test_without_news_there_is_no_new_map(filled: House) -> None:
    size = filled.audit.status().size
    assert filled.completeness.publish() is None
    filled.audit.checkpoint_and_anchor()
    assert filled.audit.status().size == size
    leaf = Leaf.decode(filled.consortium.log.store.entry(6).leaf)
    assert leaf.kind is LeafKind.COMPLETENESS
    assert [row.index for row in filled.reader.events(filled.permit(None)).rows] == [5, 4, 3, 2, 1, 0]


def test_a_report_wants_a_permit_for_that_patient(filled: House) -> None:
    for permit in (filled.permit(None), filled.permit(BERT)):
        with pytest.raises(PermitInvalid):
            filled.reader.document(permit, ANNA, hospital="", at_ms=0)


def test_before_the_first_checkpoint_there_is_nothing_to_prove(house: House) -> None:
    house.access(ANNA)
    with pytest.raises(NoSuchEvent, match="completeness map"):
        house.document(ANNA)
    house.completeness.publish()
    with pytest.raises(NoSuchEvent, match="checkpoint"):
        house.document(ANNA)
    house.consortium.log.checkpoint()
    with pytest.raises(NotCosigned):
        house.document(ANNA)


# --- exports that leave something out ----------------------------------------------------------------------------


def dropped(report: AccessReport) -> AccessReport:
    return replace(report, rows=report.rows[:1] + report.rows[2:])


def duplicated(report: AccessReport) -> AccessReport:
    return replace(report, rows=report.rows[:1] + report.rows[:1] + report.rows[1:])


def reordered(report: AccessReport) -> AccessReport:
    return replace(report, rows=report.rows[::-1])


def said_to_be_fewer(report: AccessReport) -> AccessReport:
    return replace(dropped(report), proof=replace(report.proof, count=report.proof.count - 1))


def said_to_be_none(report: AccessReport) -> AccessReport:
    return replace(report, rows=(), proof=replace(report.proof, count=0))


def another_opening(report: AccessReport) -> AccessReport:
    first, second, *rest = report.rows
    return replace(report, rows=(replace(first, opening=second.opening), second, *rest))


def another_index(report: AccessReport) -> AccessReport:
    first, *rest = report.rows
    return replace(report, rows=(replace(first, place=replace(first.place, index=1)), *rest))


def another_label_key(report: AccessReport) -> AccessReport:
    return replace(report, label_key=bytes(32))


def another_head(report: AccessReport) -> AccessReport:
    head = MapHead.decode(report.head)
    return replace(report, head=replace(head, total=head.total - 1).encode())


def another_patient(report: AccessReport) -> AccessReport:
    return replace(report, subject=CARL)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dropped, "counts 3 accesses, the report shows 2: rows were left out"),
        (duplicated, "row 0 is there twice"),
        (reordered, "row 2 is out of order"),
        (said_to_be_fewer, "sums up to 3 rows, its head counts 4"),
        (said_to_be_none, "no rows have one root only"),
        (another_opening, "row 0: the disclosed event is not the one the leaf commits to"),
        (another_index, "row 1 is not in the log"),
        (another_label_key, "not the one the log committed to"),
        (another_head, "not the one the log holds"),
        (another_patient, "not the patient's entry in the map"),
    ],
)
def test_a_report_that_leaves_something_out_says_what(
    filled: House, change: Callable[[AccessReport], AccessReport], says: str
) -> None:
    """Even from an operator who holds the log's key: the seal is made anew each time."""
    bad = filled.sealed(change(filled.document(ANNA).report))
    with pytest.raises(InvalidProof, match=says):
        verify_report(AccessReport.parse(bad.encode()), filled.consortium.policy())


def test_another_patients_row_does_not_pass_for_ones_own(filled: House) -> None:
    anna, bert = filled.document(ANNA).report, filled.document(BERT).report
    rows = tuple(sorted((anna.rows[0], bert.rows[0], anna.rows[2]), key=lambda row: row.place.index))
    with pytest.raises(InvalidProof, match="row 1 is about somebody else"):
        verify_report(filled.sealed(replace(anna, rows=rows)), filled.consortium.policy())
    closed = tuple(replace(row, opening=None) for row in rows)
    with pytest.raises(InvalidProof, match="exchanged for another"):
        verify_report(filled.sealed(replace(anna, rows=closed)), filled.consortium.policy())


def test_one_patients_map_entry_does_not_pass_for_anothers(filled: House) -> None:
    anna, carl = filled.document(ANNA).report, filled.document(CARL).report
    with pytest.raises(InvalidProof):
        verify_report(filled.sealed(replace(anna, proof=carl.proof, rows=())), filled.consortium.policy())


def test_a_report_that_was_changed_on_the_way_is_refused(filled: House) -> None:
    report = filled.document(ANNA).report
    hidden = replace(report, rows=tuple(replace(row, opening=None) for row in report.rows))
    assert filled.check(filled.sealed(hidden)) == (0, 2, 5)
    with pytest.raises(InvalidSignature, match="seal"):
        filled.check(hidden)
    with pytest.raises(InvalidProof, match="no seal"):
        filled.check(replace(report, seal=None))


# --- erasure -----------------------------------------------------------------------------------------------------


def test_erasing_one_patient_leaves_every_proof_of_everybody(filled: House, tmp_path: Path) -> None:
    """Key and salts are destroyed; what was exported before, and what is exported after, both verify."""
    before = {twin: filled.document(twin).report for twin in (ANNA, BERT)}
    single = [filled.audit.proofs.inclusion(index).encode() for index in range(6)]
    root = filled.completeness.publish()
    filled.keyring.shred(ANNA)
    filled.access(BERT)
    filled.audit.checkpoint_and_anchor()
    assert root is None
    for twin, report in before.items():
        assert filled.check(report) == {ANNA: (0, 2, 5), BERT: (1,)}[twin]
    assert filled.check(filled.document(BERT).report) == (1, 7)
    erased = filled.document(ANNA)
    assert filled.check(erased.report) == (0, 2, 5)
    assert erased.erased == 3
    assert all(row.event is None and row.minute_ms for row in erased.rows)
    for index, raw in enumerate(single):
        assert verify_bundle(ProofBundle.parse(raw), filled.consortium.policy()).index == index
        assert verify_bundle(filled.audit.proofs.inclusion(index), filled.consortium.policy()).index == index
    report = filled.audit.verify(deep=True)
    assert (report.erased, report.map_heads) == (3, 2)


def test_an_erased_patients_map_is_made_again_from_the_log_alone(filled: House, provider: MemoryKeyProvider) -> None:
    filled.keyring.shred(ANNA)
    with filled.completeness._store.transaction() as view:
        root = MapTree(view).root()
    filled.completeness.close()
    for file in filled.folder.glob("log.completeness.db*"):
        file.unlink()
    store = open_map_store(f"sqlite:{filled.folder / 'log.db'}")
    again = Completeness(filled.consortium.log, store, filled.audit.sealer, filled.keyring, FixedClock())
    logged = again.publish()
    assert logged is not None
    assert (logged.head.root, logged.head.total) == (root.hash, root.total)
    again.close()


# --- operators and storage that lie ------------------------------------------------------------------------------


def test_a_row_given_to_another_patient_is_found_by_fsck(house: House) -> None:
    """The map agrees with itself and with its head; the leaves' own tags contradict it."""
    house.access(ANNA, BERT, ANNA)
    house.audit.sealer._subjects[2] = BERT
    house.audit.checkpoint_and_anchor()
    with pytest.raises(LogTampered, match="another patient's sub-log") as caught:
        house.audit.verify()
    assert caught.value.first_bad_index == 0


def test_a_row_given_to_nobody_is_found_from_the_leaves_alone(house: House) -> None:
    """No key and no tag is needed: the map counts fewer rows than the log has."""
    house.access(ANNA, BERT)
    with house.completeness._store.transaction() as view:
        tree = MapTree(view)
        leaves = list(house.consortium.log.store.leaves(0, 2))
        root = tree.extend([(house.completeness.label(BERT), 1, house.consortium.log.store.node(0, 1))])
        head = MapHead(2, root.total, root.hash, bytes(32))
        index = house.consortium.log.append([Entry(head.leaf(0).encode(), head.encode())])[0]
        view.put_head(LoggedHead(head, index))
    assert len(leaves) == 2
    without_map = Audit.through(house.consortium.anchorer, house.keyring)
    with pytest.raises(LogTampered, match="counts 1 rows about patients, the log has 2") as caught:
        without_map.verify()
    assert caught.value.first_bad_index == 2


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("UPDATE subjects SET count = count + 1", "not what was logged"),
        ("UPDATE subjects SET frontier = zeroblob(length(frontier))", "not what was logged"),
        ("UPDATE pages SET places = zeroblob(length(places))", "damaged"),
        ("DELETE FROM pages", "not what was logged"),
        ("DELETE FROM tags", "nobody's sub-log"),
        ("UPDATE tags SET label = zeroblob(32)", "another patient's sub-log"),
    ],
)
def test_a_damaged_map_is_named(filled: House, damage: str, says: str) -> None:
    with closing(sqlite3.connect(filled.folder / "log.completeness.db")) as file:
        file.execute(damage)
        file.commit()
    with pytest.raises(LogTampered, match=says):
        filled.audit.verify()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("UPDATE tags SET label = (SELECT max(label) FROM tags)", "another patient's sub-log"),
        ("DELETE FROM tags", "nobody's sub-log"),
    ],
)
def test_what_was_checked_before_excuses_nothing(filled: House, damage: str, says: str) -> None:
    """The second check passes over heads that the first one rebuilt: it must find the same, at the same place."""
    sound = filled.audit.verify()
    assert filled.audit.verify() == sound
    with closing(sqlite3.connect(filled.folder / "log.completeness.db")) as file:
        file.execute(damage)
        file.commit()
    with pytest.raises(LogTampered, match=says) as found:
        filled.audit.verify()
    filled.audit._verification._checked = NOTHING_CHECKED
    with pytest.raises(LogTampered, match=says) as anew:
        filled.audit.verify()
    assert found.value.first_bad_index == anew.value.first_bad_index


@pytest.mark.parametrize(
    ("other", "says"),
    [({"chain": bytes(32)}, "other than were checked before"), ({"count": 9}, "checked before are gone")],
)
def test_a_log_that_agrees_with_itself_and_is_not_the_one_that_was_checked_is_none(
    filled: House, other: dict[str, Any], says: str
) -> None:
    """As after a roll-back, or where rows and heads beyond the last note were written anew: each time it is asked."""
    sound, verification = filled.audit.verify(), filled.audit._verification
    known = verification._checked
    verification._checked = replace(known, **other)
    for _ in range(2):
        with pytest.raises(LogTampered, match=says):
            filled.audit.verify()
    verification._checked = known
    assert filled.audit.verify() == sound


def test_heads_are_passed_over_only_where_they_are_those_that_were_checked(filled: House) -> None:
    filled.access(BERT)
    filled.audit.checkpoint_and_anchor()
    log, tags = filled.consortium.log, filled.completeness.tags()
    known = fsck(log.store, log.history, tags=tags).map_checked
    assert known.count > 1
    assert fsck(log.store, log.history, tags=tags, known=known).map_checked == known
    for other, says in (
        (replace(known, chain=bytes(32)), "other than were checked"),
        (replace(known, count=known.count - 1), "other than were checked"),
        (replace(known, count=known.count + 1), "are gone"),
    ):
        with pytest.raises(LogCorrupt, match=says):
            fsck(log.store, log.history, tags=tags, known=other)


def test_every_flipped_bit_of_the_maps_rows_is_found(filled: House) -> None:
    """Labels, frontiers, pages, tags and the head: one bit each, anywhere."""
    path, dice = filled.folder / "log.completeness.db", random.Random(4)
    columns = [("subjects", "label"), ("subjects", "frontier"), ("pages", "places"), ("tags", "tag"), ("tags", "label")]
    for table, column in columns * 6:
        with closing(sqlite3.connect(path)) as file:
            rows = file.execute(f"SELECT {column} FROM {table}").fetchall()
            old = dice.choice(rows)[0]
            new = bytearray(old)
            new[dice.randrange(len(new))] ^= 1 << dice.randrange(8)
            change = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"
            file.execute(change, (bytes(new), old))
            file.commit()
            with pytest.raises(LogTampered):
                pytest.fail(f"{table}.{column}: {old.hex()} {new.hex()}: {filled.audit.verify()}")
            file.execute(change, (old, bytes(new)))
            file.commit()
    filled.audit.verify()


def test_a_log_that_was_rolled_back_is_not_gone_on_from(house: House, provider: MemoryKeyProvider) -> None:
    """The map knows of a root that the log does not hold."""
    house.access(ANNA, BERT)
    house.audit.checkpoint_and_anchor()
    with house.completeness._store.transaction() as view:
        logged = view.head()
        assert logged is not None
        view.put_head(replace(logged, index=logged.index + 5))
    house.access(ANNA)
    with pytest.raises(LogTampered, match="rolled back"):
        house.audit.checkpoint_and_anchor()


def test_a_body_filed_under_another_patients_tag_is_found(filled: House) -> None:
    with closing(sqlite3.connect(filled.folder / "log.db")) as file:
        tags = file.execute("SELECT tags FROM bodies WHERE idx = 1").fetchone()[0]
        file.execute("UPDATE bodies SET tags = ? WHERE idx = 2", (tags,))
        file.commit()
    with pytest.raises(LogTampered, match="own patient") as caught:
        filled.audit.verify(deep=True)
    assert caught.value.first_bad_index == 2


# --- crashes and other processes ---------------------------------------------------------------------------------


def test_a_crash_after_the_root_was_logged_loses_nothing(filled: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root is in the log, the map as before: the next publication takes in the same rows once more."""

    class PowerCut(Exception):
        pass

    def cut(*_: object) -> None:
        raise PowerCut

    filled.access(ANNA)
    with monkeypatch.context() as patched:
        patched.setattr("twinward_ledger.stores.completeness_sqlite._View.put_head", cut)
        with pytest.raises(PowerCut):
            filled.completeness.publish()
    filled.audit.checkpoint_and_anchor()
    assert filled.check(filled.document(ANNA).report) == (0, 2, 5, 7)
    assert filled.audit.verify().map_heads == 3


def test_another_process_of_the_node_logs_what_this_one_publishes(filled: House, provider: MemoryKeyProvider) -> None:
    """Whom rows are about that this process did not log is read from their routing."""
    other = Audit.through(filled.consortium.anchorer, filled.keyring)
    other.record([EVENT, replace(EVENT, twin=CARL)])
    filled.audit.checkpoint_and_anchor()
    assert filled.check(filled.document(ANNA).report) == (0, 2, 5, 7)
    assert filled.check(filled.document(CARL).report) == (8,)


@pytest.mark.slow
def test_kill_9_while_publishing_leaves_a_map_that_is_the_logs(tmp_path: Path) -> None:
    """Writers are killed at random moments; each successor goes on, and at the end every root is derived again."""
    provider, dice = MemoryKeyProvider(), random.Random(9)
    with open_house(tmp_path, provider) as house:
        house.access(ANNA)
        house.audit.checkpoint_and_anchor()
    for _ in range(12):
        begun, begin = os.pipe()
        child = os.fork()
        if child == 0:  # pragma: no cover - killed
            with open_house(tmp_path, provider) as house:
                house.completeness.publish()
                os.write(begin, b"!")
                while True:
                    house.access(ANNA, BERT, ANNA)
                    house.completeness.publish()
        os.close(begin)
        os.read(begun, 1)
        os.close(begun)
        time.sleep(dice.uniform(0, 0.12))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with open_house(tmp_path, provider) as house:
        house.audit.checkpoint_and_anchor()
        report = house.audit.verify(deep=True)
        annas, berts = (house.check(house.document(twin).report) for twin in (ANNA, BERT))
        leaves = list(house.consortium.log.store.leaves(0, report.size))
        accesses = [index for index, leaf in enumerate(leaves) if leaf[1] == LeafKind.ACCESS]
        assert sorted(annas + berts) == accesses
        assert report.map_heads > 2
