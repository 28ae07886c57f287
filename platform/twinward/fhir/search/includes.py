"""``_include`` and ``_revinclude``: what matches refer to, and the provenance that refers to them.

https://hl7.org/fhir/R4/search.html#revinclude. What comes along is an access of its own: it is decided and logged
like any other, and what the caller may not see stays out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import TwinId
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.mapping.categories import categories_of_type
from twinward.fhir.search.matching import references_in
from twinward.fhir.search.parameters import parameters_of
from twinward.fhir.search.representation import reference_of
from twinward.twins.read.search import RecordSearch
from twinward.vault.interfaces import Record

REVERSE = ("Provenance:target",)
"""What ``_revinclude`` takes: US Core asks for no other."""

MAX_INCLUDED = 500
_ASKED = re.compile(r"([A-Z][A-Za-z]{1,63}):([a-z-]{1,40})(?::([A-Z][A-Za-z]{1,63}))?")


@dataclass(frozen=True, slots=True)
class Include:
    """One thing to bring along: what ``parameter`` of the matches refers to, or (reverse) what refers to them."""

    parameter: str
    target: str = ""
    reverse: bool = False


def includes_of(resource_type: str) -> list[str]:
    """What ``_include`` takes for a type."""
    return sorted(
        f"{resource_type}:{name}"
        for name, one in parameters_of(resource_type).items()
        if one.elements and one.kind == "reference"
    )


def read_include(name: str, value: str, resource_type: str) -> Include:
    """One ``_include`` or ``_revinclude``. Raises ``InvalidResource`` where it is not served."""
    match = _ASKED.fullmatch(value)
    if name == "_revinclude" and value in REVERSE:
        return Include("target", reverse=True)
    if name == "_include" and match and f"{match[1]}:{match[2]}" in includes_of(resource_type):
        return Include(match[2], match[3] or "")
    served = REVERSE if name == "_revinclude" else includes_of(resource_type)
    hint = f"one of {', '.join(served)}" if served else f"a search of {resource_type} includes nothing"
    raise InvalidResource(Issue("not-supported", "", f"{name} with this value is not served here"), hint=hint)


@dataclass(frozen=True, slots=True)
class Including:
    """The walk that fetches what comes along with a page of matches."""

    finding: RecordSearch
    context: AccessContext

    def of(self, matches: Sequence[Record], includes: Iterable[Include], resource_type: str) -> list[Record]:
        """What comes along, each once, without what matches already.

        Raises:
            InvalidResource: it would be more than ``MAX_INCLUDED``.
        """
        known = parameters_of(resource_type)
        bodies = [json.loads(one.content) for one in matches] if includes else []
        found: dict[str, Record] = {}
        for include in includes:
            if include.reverse:
                records = self._pointing_at(matches)
            else:
                named = [one for body in bodies for one in references_in(known[include.parameter], body)]
                wanted = [one for one in dict.fromkeys(named) if one.startswith(include.target)]
                records = self._named([one for one in wanted if one not in found])
            found |= {reference_of(one): one for one in records}
        for one in matches:
            found.pop(reference_of(one), None)
        if len(found) > MAX_INCLUDED:
            raise _too_many()
        return list(found.values())

    def _named(self, references: Sequence[str]) -> list[Record]:
        if len(references) > MAX_INCLUDED:
            raise _too_many()
        return self.finding.named(self.context, references)

    def _pointing_at(self, matches: Sequence[Record]) -> list[Record]:
        targets = {reference_of(one) for one in matches}
        parameter, wanted = parameters_of("Provenance")["target"], categories_of_type("Provenance")
        found = []
        for twin in dict.fromkeys(TwinId(one.twin) for one in matches):
            if "Provenance" not in self.finding.types_of(twin):
                continue  # nothing to open, so nothing to decide
            records, _ = self.finding.within(self.context, twin, "Provenance", wanted)
            found += [one for one in records if targets.intersection(references_in(parameter, json.loads(one.content)))]
        return found


def _too_many() -> InvalidResource:
    hint = "ask for smaller pages with _count"
    return InvalidResource(Issue("too-costly", "", f"a page brings at most {MAX_INCLUDED} resources along"), hint=hint)
