"""What every form of a report says: whose accesses, which, how far they are complete and who vouches for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from twinward.audit.events import codec
from twinward.audit.models import AccessEvent
from twinward_ledger.formats.anchor_record import AnchorRecord
from twinward_ledger.formats.leaf import MINUTE_MS
from twinward_ledger.proofs.access_report import AccessReport
from twinward_ledger.proofs.report_verifier import ReportVerdict, verify_report
from twinward_ledger.proofs.verifier import TrustPolicy


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """One access. ``event`` is None where it was erased; ``minute_ms`` is known even then."""

    index: int
    minute_ms: int
    leaf: bytes
    event: AccessEvent | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccessDocument:
    """A report that this node has checked as any auditor would, in its own terms.

    Attributes:
        hospital: who hands it out.
        at_ms: when.
        report: the proof itself.
        verdict: what it proves.
        rows: the accesses, oldest first.
    """

    hospital: str
    at_ms: int
    report: AccessReport = field(repr=False)
    verdict: ReportVerdict = field(repr=False)
    rows: tuple[DocumentRow, ...] = field(repr=False)

    @classmethod
    def of(cls, report: AccessReport, policy: TrustPolicy, *, hospital: str, at_ms: int) -> AccessDocument:
        """Check a report before it leaves the house; raises what ``verify_report`` raises."""
        verdict = verify_report(report, policy)
        rows = tuple(
            DocumentRow(
                row.index,
                row.leaf.minute * MINUTE_MS,
                row.leaf.encode(),
                None if row.event is None else codec.decode(row.event, report.origin),
            )
            for row in verdict.rows
        )
        return cls(hospital, at_ms, report, verdict, rows)

    @property
    def complete_ms(self) -> int:
        """As of when nothing is missing, to the minute."""
        return self.verdict.minute * MINUTE_MS

    @property
    def erased(self) -> int:
        """How many events were erased."""
        return sum(1 for row in self.rows if row.event is None)

    @property
    def anchor(self) -> AnchorRecord | None:
        """The anchor on the chain, if there was one."""
        return self.verdict.anchor
