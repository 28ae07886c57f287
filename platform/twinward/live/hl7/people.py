"""Who a message is about: PID-3 and MRG-1, identifiers of authorities that this hospital knows (CX, v2.5.1 2.A.14)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from twinward.core.errors import BadInput
from twinward.live.hl7.errors import DATA_TYPE, UNKNOWN_KEY, Hl7Fault
from twinward.live.hl7.message import Segment

_OID: Final = re.compile(r"[0-2](\.(0|[1-9]\d{0,18})){1,20}", re.ASCII)
_URI: Final = re.compile(r"[a-z][a-z0-9+.-]{1,20}:(?:(?![|,$\\])[!-~]){1,180}", re.ASCII)
"""None of the marks by which a FHIR search tells one value from the next."""
_VALUE: Final = re.compile(r"[^\s|,$\\](?:[^\s|,$\\]| (?! )){0,62}")
MOST_IDENTIFIERS: Final = 10


class Identifier(NamedTuple):
    """A business identifier, as FHIR has it: the authority's URI, and what it gave."""

    system: str
    value: str


@dataclass(frozen=True, slots=True)
class Authorities:
    """Whose identifiers are taken, and what FHIR calls them.

    Attributes:
        systems: URIs by namespace (HD.1, e.g. ``STMARY``); the empty one is of identifiers that name nobody.
        visits: the URI of visit numbers that name nobody; empty where there is none.
    """

    systems: Mapping[str, str] = field(default_factory=dict)
    visits: str = ""

    def identifiers(self, segment: Segment, number: int) -> list[Identifier]:
        """A field's identifiers of authorities that are known. Raises ``Hl7Fault`` where there is none of them."""
        found = list(dict.fromkeys(self._each(segment, number)))
        if not found:
            text = f"{segment.at(number)}: no identifier of an authority that is known here (`--authority NAME=URI`)"
            raise Hl7Fault(UNKNOWN_KEY, segment.at(number), text)
        return found

    def visit(self, segment: Segment, number: int = 19) -> Identifier | None:
        """PV1-19's visit number; None where there is none. Raises ``Hl7Fault`` where nobody knows whose it is."""
        value = segment.text(number)
        if not value:
            return None
        system = self._system(segment, number, 1) or ("" if _is_named(segment, number, 1) else self.visits)
        if not system or not _VALUE.fullmatch(value):
            text = f"{segment.at(number)}: a visit number of an authority that is known here (`--visits URI`)"
            raise Hl7Fault(UNKNOWN_KEY, segment.at(number), text)
        return Identifier(system, value)

    def _each(self, segment: Segment, number: int) -> Iterator[Identifier]:
        for repetition in range(1, min(segment.repetitions(number), MOST_IDENTIFIERS) + 1):
            value = segment.text(number, 1, 1, repetition)
            system = self._system(segment, number, repetition)
            if not system and not _is_named(segment, number, repetition):
                system = self.systems.get("", "")
            if system and _VALUE.fullmatch(value):
                if not segment.is_whole(number, repetition):  # `7&8` is not 7
                    text = f"{segment.at(number)}: an identifier has one part: write what divides as an escape"
                    raise Hl7Fault(DATA_TYPE, segment.at(number), text)
                yield Identifier(system, value)

    def _system(self, segment: Segment, number: int, repetition: int) -> str:
        namespace, universal, kind = (segment.text(number, 4, part, repetition) for part in (1, 2, 3))
        if namespace and namespace in self.systems:
            return self.systems[namespace]
        if kind == "ISO" and _OID.fullmatch(universal):
            return f"urn:oid:{universal}"
        return universal if kind == "URI" and _URI.fullmatch(universal) else ""


def _is_named(segment: Segment, number: int, repetition: int) -> bool:
    """Whether an authority is named, known here or not: namespace, universal id or its kind."""
    return any(segment.text(number, 4, part, repetition) for part in (1, 2, 3))


def authorities_of(named: Mapping[str, str], visits: str = "") -> Authorities:
    """What an operator configured. Raises ``BadInput`` for what is no URI."""
    for uri in (*named.values(), *([visits] if visits else [])):
        if not _URI.fullmatch(uri):
            raise BadInput("an authority is a URI", hint="e.g. --authority STMARY=https://stmary.example/mrn")
    return Authorities(dict(named), visits)
