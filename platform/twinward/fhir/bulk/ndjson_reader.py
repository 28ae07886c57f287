"""One line of NDJSON as a bulk record: fast where it can be, strict where it must be, with one outcome.

Observations of the common shape go the fast way (``observation_lines``; many together, ``observation_columns``);
everything else, and every line about which that could be wrong, goes through the strict decoder and ``validate``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from twinward.core.clock import Clock, SystemClock
from twinward.fhir.bulk.observation_columns import ObservationColumns
from twinward.fhir.bulk.observation_lines import ObservationLines
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.strict_json import REQUEST_LIMITS
from twinward.fhir.mapping.bundle import TELLS_OF_AN_ANSWER, read_document
from twinward.fhir.mapping.ids import Origin, OriginNames
from twinward.fhir.mapping.records import patient_imports, person_of
from twinward.fhir.mapping.references import name_parts
from twinward.twins.models import BulkRecord

_NOWHERE = Origin()
_CLOCK = SystemClock()


class NdjsonReader:
    """Reads lines into bulk records. It remembers what it has checked, so one reader serves many files.

    Args:
        wanted: LOINC codes of the readings to be taken out of Observations.
        origin: where the lines come from; one with a source has names of its own, and takes the strict way for all.
        clock: for the ids of lines that have none.
    """

    def __init__(
        self,
        wanted: Collection[str],
        *,
        origin: Origin = _NOWHERE,
        clock: Clock = _CLOCK,
    ) -> None:
        self._origin = origin
        self._clock = clock
        self._observations = None if origin.source else ObservationLines(wanted, origin.if_other)
        self._columns = None if self._observations is None else ObservationColumns(self._observations)

    def read_ahead(self, lines: Sequence[bytes]) -> list[BulkRecord | None]:
        """Of many lines the records that can be had at once, as ``read`` gives them; None for each it must be asked
        for."""
        return [None] * len(lines) if self._columns is None else self._columns.records([_bare(one) for one in lines])

    def read(self, line: bytes, place: Callable[[], str] = str) -> BulkRecord | None:
        """One line as a record; None for one that holds none: an OperationOutcome tells of the export it came with.

        Args:
            line: a resource.
            place: says what a line without an id is known by, the same for the same line of the same file; an empty
                text where that cannot be said, and it is taken for another one each time.

        Raises:
            InvalidResource: not one R4 resource, or one of no patient.
        """
        found = self._fast(line)
        return self._strict(line, place) if found is None else found

    def _fast(self, line: bytes) -> BulkRecord | None:
        return None if self._observations is None else self._observations.record(_bare(line))

    def _strict(self, line: bytes, place: Callable[[], str] = str) -> BulkRecord | None:
        document = read_document(line, limits=REQUEST_LIMITS)
        if document.kind != "resource":
            raise InvalidResource(Issue("structure", "Bundle", "a line holds one resource, not a Bundle"))
        if document.parts[0].resource_type == TELLS_OF_AN_ANSWER:
            return None
        origin = self._origin if document.parts[0].resource_id else replace(self._origin, digest=place())
        bundle = name_parts(document, OriginNames(origin, self._clock)).bundle
        entry = bundle.entries[0]
        source = patient_imports(bundle)[0]
        record = source.records[-1]  # before it stands the directory's marker, where it is the directory's
        person = person_of(entry.body) if entry.resource_type == "Patient" else None
        return BulkRecord(
            source.reference,
            entry.resource_type,
            record.reference,
            record.category,
            record.content,
            record.found_by,
            person,
            source.measurements,
            record.if_kept,
        )


def _bare(line: bytes) -> bytes:
    """Without JSON's whitespace around it (RFC 8259, section 2), which the strict way does not keep, either."""
    return line.strip(b" \t\r\n")
