"""The names of the forms in which a patient's accesses are handed out; imports nothing, for the command line's help."""

from __future__ import annotations

from enum import StrEnum


class ExportFormat(StrEnum):
    """What a report can be handed out as."""

    PROOF = "proof"
    """``.accesses.json``: everything an auditor checks without this node."""
    CSV = "csv"
    PDF = "pdf"
    FHIR = "fhir"
