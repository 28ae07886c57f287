"""A report as CSV (RFC 4180): one line an access, for a spreadsheet.

It begins with a byte order mark, without which Excel reads UTF-8 as the machine's old code page. What cannot be seen
is spelled out. A cell that a spreadsheet would take for a formula is written after an apostrophe (OWASP, CSV
injection): agents, units, reasons and justifications come from people.
"""

from __future__ import annotations

import csv
import io
from typing import Final

from twinward.audit.exports.document import AccessDocument, DocumentRow
from twinward.audit.models import AuditRow
from twinward.core.clock import iso
from twinward.core.visible_text import visible

COLUMNS: Final = (
    "index",
    "minute",
    "at",
    "decision",
    "agent",
    "role",
    "unit",
    "action",
    "purpose",
    "categories",
    "reason",
    "justification",
    "consent_version",
    "policy_sha256",
    "leaf",
)
EVENT_COLUMNS: Final = (
    "index", "minute", "at", "state", "decision", "agent", "role", "unit", "action", "purpose", "twin", "categories",
    "reason", "justification", "details", "consent_version", "policy_sha256",
)  # fmt: skip
"""Of a list over all patients: see ``event_cells``."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\n", "|", "%", "＝", "＋", "－", "＠")


def as_csv(document: AccessDocument) -> bytes:
    """The table in UTF-8 with a byte order mark, a header line first, lines ended by CR LF."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(value) for value in _values(row)] for row in document.rows)
    return text.getvalue().encode("utf-8-sig")


def cell(value: str) -> str:
    """A value that can be seen and that no spreadsheet computes."""
    if value.isascii() and value.isprintable() and value[:1].isalnum():
        return value  # nearly every cell there is
    shown = visible(value)
    return f"'{shown}" if shown.lstrip(" ").startswith(_FORMULA) else shown


def event_cells(row: AuditRow) -> list[str]:
    """One event of any patient's as cells, in the order of ``EVENT_COLUMNS``."""
    event = row.event
    known = [str(row.index), iso(row.minute_ms)[:16] + "Z"]
    if event is None:
        return [*known, "", row.state.value, *[""] * 6, cell(row.twin or ""), *[""] * 6]
    details = dict(event.detail)
    values = (
        iso(event.at_ms),
        row.state.value,
        event.decision,
        event.agent,
        event.role.value,
        event.unit,
        event.action.value,
        event.purpose.value,
        event.twin or "",
        " ".join(category.value for category in event.categories),
        event.reason,
        details.pop("justification", ""),
        "; ".join(f"{name}: {value}" for name, value in details.items()),
        str(event.consent_version),
        event.policy_hash,
    )
    return [*known, *map(cell, values)]


def _values(row: DocumentRow) -> tuple[str, ...]:
    event = row.event
    known = (str(row.index), iso(row.minute_ms)[:16] + "Z")
    if event is None:
        return (*known, "", "erased", *[""] * 10, row.leaf.hex())
    return (
        *known,
        iso(event.at_ms),
        event.decision,
        event.agent,
        event.role.value,
        event.unit,
        event.action.value,
        event.purpose.value,
        " ".join(category.value for category in event.categories),
        event.reason,
        dict(event.detail).get("justification", ""),
        str(event.consent_version),
        event.policy_hash,
        row.leaf.hex(),
    )
