"""A case as files: a table of who is affected, and the proofs of what was counted; ``printed`` makes the PDF."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from twinward.audit.exports.csv_table import cell
from twinward.breach.affected import LOGGED, Affected, Subject
from twinward.breach.errors import BreachInvalid
from twinward.core.clock import iso
from twinward.core.sentences import sentence


class BreachFormat(StrEnum):
    """What a case can be written as."""

    PDF = "pdf"
    """The whole case: clocks, who is affected, timeline, drafts."""
    CSV = "csv"
    """Who is affected, one line each."""
    PROOFS = "proofs"
    """A ZIP with the proof of every event that was counted, for `twinward-verify`."""


MEDIA_TYPES: Final = {
    BreachFormat.PDF: "application/pdf",
    BreachFormat.CSV: "text/csv; charset=utf-8; header=present",
    BreachFormat.PROOFS: "application/zip",
}
ENDINGS: Final = {BreachFormat.PDF: ".pdf", BreachFormat.CSV: ".csv", BreachFormat.PROOFS: ".proofs.zip"}

MAX_PROOFS: Final = 5000
"""In one file; more are asked for event by event."""

COLUMNS: Final = (
    *("twin", "known_by", "accesses", "categories", "actions", "purposes"),
    *("altered", "first_utc", "last_utc", "log_entries"),
)
KNOWN: Final = {LOGGED: "access log", "key": "sealed under the lost key"}
"""How one knows that somebody is affected, in words."""


def as_csv(found: Affected) -> bytes:
    """Who is affected (RFC 4180, UTF-8 with a byte order mark, as reports of accesses are)."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(value) for value in _values(one)] for one in found.subjects)
    return text.getvalue().encode("utf-8-sig")


def as_proofs(found: Affected, prove: Callable[[int], bytes], told: Callable[[int], None] = lambda _: None) -> bytes:
    """A ZIP of proof files, one an event that was counted, and the table of who is affected.

    Raises:
        BreachInvalid: more than ``MAX_PROOFS`` events were counted.
    """
    indices = sorted({index for one in found.subjects for index in one.indices})
    if len(indices) > MAX_PROOFS:
        hint = "`twinward audit export INDEX --disclose` proves one; the table names each index"
        raise BreachInvalid(
            sentence(
                "{count} events were counted, and one file proves {most} at most", count=len(indices), most=MAX_PROOFS
            ),
            hint=hint,
        )
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("affected.csv", as_csv(found))
        for done, index in enumerate(indices, start=1):
            archive.writestr(f"event-{index}.proof", prove(index))
            told(done)
    return made.getvalue()


def moment(at_ms: int) -> str:
    """A minute as people read it."""
    return iso(at_ms)[:16].replace("T", " ")


def _values(one: Subject) -> tuple[str, ...]:
    return (
        one.twin,
        KNOWN[one.known_by],
        str(len(one.indices)),
        " ".join(sorted(one.categories)),
        " ".join(sorted(one.actions)),
        " ".join(sorted(one.purposes)),
        "yes" if one.altered else "no",
        iso(one.first_ms) if one.indices else "",
        iso(one.last_ms) if one.indices else "",
        " ".join(map(str, one.indices)),
    )
