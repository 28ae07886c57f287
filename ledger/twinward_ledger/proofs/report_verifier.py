"""The auditor's check of an access report, offline: these are the patient's accesses, and none was left out.

The order: the log signed the checkpoint, a quorum cosigned it, the anchor is of it; the completeness map's head is a
leaf of that tree; the subject's label, worked out anew, leads to a count and a sub-log root under the head, or to
nothing; the rows are that many, in order, each a leaf of the tree at its index, and together they give the sub-log's
root; every disclosed event is what its leaf commits to and names the subject; the log sealed the document as it is.

"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from twinward_crypto.errors import MalformedKey
from twinward_ledger import merkle
from twinward_ledger.completeness.map import MapHead, entry_hash, key_commitment, subject_label, verify_map_proof
from twinward_ledger.errors import InvalidProof, MalformedLeaf
from twinward_ledger.formats.anchor_record import AnchorRecord
from twinward_ledger.formats.checkpoint import Checkpoint
from twinward_ledger.formats.export_seal import verify_seal
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.proofs.access_report import AccessReport, LoggedLeaf, ReportRow
from twinward_ledger.proofs.verifier import TrustPolicy, open_event, verify_anchor


@dataclass(frozen=True, slots=True)
class ProvenRow:
    """One access of a proven report; ``event`` is its canonical JSON, None where it was erased."""

    index: int
    leaf: Leaf
    event: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReportVerdict:
    """What a report proves: ``rows`` are all accesses of ``subject`` among the log's first ``through`` entries.

    Attributes:
        subject: the twin's id.
        rows: every access, in the order of the log.
        through: how many entries the completeness map covers.
        minute: when that map was logged, whole minutes since the Unix epoch.
        total: accesses of all patients together that the map counts.
        checkpoint: the tree it all stands in.
        cosigned: who cosigned, with the time each stated (seconds since the Unix epoch).
        anchor: the anchor, if there is one.
    """

    subject: str
    rows: tuple[ProvenRow, ...]
    through: int
    minute: int
    total: int
    checkpoint: Checkpoint
    cosigned: tuple[tuple[str, int], ...]
    anchor: AnchorRecord | None


def verify_report(report: AccessReport, policy: TrustPolicy) -> ReportVerdict:
    """Check an access report from end to end.

    Raises:
        MalformedLeaf, MalformedCheckpoint: a part does not parse.
        InvalidSignature: the log's, a known witness's, the aggregate signature or the seal does not verify.
        InvalidProof: anything else that does not fit; the message says what, and which row.
        QuorumNotReached: too few witnesses.
    """
    log = policy.history
    checkpoint, note = log.open(report.note)
    if report.origin != checkpoint.origin:
        raise InvalidProof("the report names another log than its checkpoint")
    cosigned = policy.require_quorum(note)
    if report.anchor is not None:
        verify_anchor(report.anchor, checkpoint, policy)
    elif policy.anchor_required:
        raise InvalidProof("the report has no anchor")
    head, minute = _verify_head(report, checkpoint)
    _verify_in_map(report, head)
    rows = _verify_rows(report, head, checkpoint)
    verify_seal(report.unsealed(), report.seal, *log.sealed_by(note))
    return ReportVerdict(report.subject, rows, head.through, minute, head.total, checkpoint, cosigned, report.anchor)


def subject_of(event: bytes) -> str | None:
    """Whom an event (a FHIR AuditEvent) is about; None where it names nobody. Raises ``InvalidProof``."""
    try:
        what = json.loads(event)["entity"][0].get("what")
        return None if what is None else str(what["identifier"]["value"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidProof("a disclosed event is not an AuditEvent") from error


def _verify_head(report: AccessReport, checkpoint: Checkpoint) -> tuple[MapHead, int]:
    place = report.head_place
    head, leaf = MapHead.decode(report.head), Leaf.decode(place.leaf)
    head.require(leaf)
    if head.through > place.index:
        raise InvalidProof("the completeness map covers entries that were logged after it")
    _verify_place(place, checkpoint, "the completeness map")
    return head, leaf.minute


def _verify_in_map(report: AccessReport, head: MapHead) -> None:
    try:
        committed = key_commitment(report.label_key)
        label = subject_label(report.label_key, report.origin, report.subject)
    except MalformedKey as error:
        raise InvalidProof("the report's label key is none") from error
    if not hmac.compare_digest(committed, head.key_commitment):
        raise InvalidProof("the report's label key is not the one the log committed to")
    verify_map_proof(head, label, report.proof)


def _verify_rows(report: AccessReport, head: MapHead, checkpoint: Checkpoint) -> tuple[ProvenRow, ...]:
    rows, proof = report.rows, report.proof
    _require_order(rows)
    if len(rows) != proof.count:
        verb = "left out" if len(rows) < proof.count else "added"
        raise InvalidProof(f"the log counts {proof.count} accesses, the report shows {len(rows)}: rows were {verb}")
    if rows and rows[-1].place.index >= head.through:
        raise InvalidProof(f"row {rows[-1].place.index} was logged after the completeness map")
    proven = tuple(_verify_row(row, report.subject, checkpoint) for row in rows)
    entries = [entry_hash(row.place.index, merkle.leaf_hash(row.place.leaf)) for row in rows]
    if not hmac.compare_digest(merkle.root(entries), proof.root):
        raise InvalidProof("the rows are in the log, but they are not this patient's: one was exchanged for another")
    return proven


def _require_order(rows: Sequence[ReportRow]) -> None:
    for before, after in pairwise(rows):
        if after.place.index == before.place.index:
            raise InvalidProof(f"row {after.place.index} is there twice")
        if after.place.index < before.place.index:
            raise InvalidProof(f"row {after.place.index} is out of order")


def _verify_row(row: ReportRow, subject: str, checkpoint: Checkpoint) -> ProvenRow:
    index = row.place.index
    try:
        leaf = Leaf.decode(row.place.leaf)
    except MalformedLeaf as error:
        raise InvalidProof(f"row {index}: {error}") from error
    if leaf.kind is not LeafKind.ACCESS:
        raise InvalidProof(f"row {index} is no access to a patient")
    _verify_place(row.place, checkpoint, f"row {index}")
    try:
        event = open_event(row.opening, leaf)
    except InvalidProof as error:
        raise InvalidProof(f"row {index}: {error}") from error
    if event is not None and subject_of(event) != subject:
        raise InvalidProof(f"row {index} is about somebody else")
    return ProvenRow(index, leaf, event)


def _verify_place(place: LoggedLeaf, checkpoint: Checkpoint, what: str) -> None:
    leaf_hash = merkle.leaf_hash(place.leaf)
    try:
        merkle.verify_inclusion(place.index, checkpoint.size, leaf_hash, place.path, checkpoint.root)
    except InvalidProof as error:
        raise InvalidProof(f"{what} is not in the log: {error}") from error
