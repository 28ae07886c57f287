"""One patient's accesses as a file: a proof, a table, a printed page, a FHIR Bundle; chosen from a plain map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # the names of the forms stand in the command line's help, which opens nothing of the ledger
    from twinward.audit.exports.document import AccessDocument


class ExportFormat(StrEnum):
    """What a report can be handed out as."""

    PROOF = "proof"
    """``.accesses.json``: everything an auditor checks without this node."""
    CSV = "csv"
    PDF = "pdf"
    FHIR = "fhir"


def _nothing(_rows: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Printing:
    """What a printed page needs beside what it says.

    Attributes:
        fonts: files asked, in this order, for the characters that DejaVu lacks.
        told: called after each row with how many are done.
    """

    fonts: Sequence[Path] = ()
    told: Callable[[int], None] = _nothing


DEFAULT_PRINTING: Final = Printing()

MEDIA_TYPES: Final = {
    ExportFormat.PROOF: "application/json",
    ExportFormat.CSV: "text/csv; charset=utf-8; header=present",
    ExportFormat.PDF: "application/pdf",
    ExportFormat.FHIR: "application/fhir+json",
}
ENDINGS: Final = {
    ExportFormat.PROOF: ".accesses.json",
    ExportFormat.CSV: ".csv",
    ExportFormat.PDF: ".pdf",
    ExportFormat.FHIR: ".fhir.json",
}


def render(document: AccessDocument, form: ExportFormat, printing: Printing = DEFAULT_PRINTING) -> bytes:
    """The file's bytes. Raises ``Unavailable`` where one of the fonts to print with cannot be read."""
    return _WRITERS[form](document, printing)


def _proof(document: AccessDocument, _printing: Printing) -> bytes:
    return document.report.encode()


def _csv(document: AccessDocument, _printing: Printing) -> bytes:
    from twinward.audit.exports.csv_table import as_csv

    return as_csv(document)


def _pdf(document: AccessDocument, printing: Printing) -> bytes:
    from twinward.audit.exports.pdf import as_pdf

    return as_pdf(document, printing.fonts, printing.told)


def _fhir(document: AccessDocument, _printing: Printing) -> bytes:
    from twinward.audit.exports.fhir_bundle import as_fhir_bundle

    return as_fhir_bundle(document)


_WRITERS: Final[dict[ExportFormat, Callable[[AccessDocument, Printing], bytes]]] = {
    ExportFormat.PROOF: _proof,
    ExportFormat.CSV: _csv,
    ExportFormat.PDF: _pdf,
    ExportFormat.FHIR: _fhir,
}
