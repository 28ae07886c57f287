"""What the search index knows of a resource, and what a query wants of it. https://hl7.org/fhir/R4/search.html.

Words are codes without their systems and without case, moments are dates and when a version was stored. Both find a
superset: what is found is opened, and held against the query to the letter (``matching``).
"""

from __future__ import annotations

import hashlib
import json

from twinward.fhir.resource_types import R4_TYPES
from twinward.fhir.search.matching import codes_in, intervals_in, read_date
from twinward.fhir.search.parameters import Parameter, alternatives, parameters_of, token_parts
from twinward.fhir.search.query import Query
from twinward.vault.interfaces import Record
from twinward.vault.search.facets import Bounds, Facets, Wanted

STORED = "_lastUpdated"
_LAYOUT = 1
"""Counts up when the same record comes to be described otherwise though its type's parameters are the same."""


class SearchFacets:
    """What a record of R4 is searched by: its type, its codes and its dates. The vault's ``Describing``."""

    def __init__(self) -> None:
        known = {name: sorted(_indexed(name).items()) for name in sorted(R4_TYPES)}
        self.edition = hashlib.sha256(f"{_LAYOUT} {known!r}".encode()).hexdigest()[:16]

    def facets(self, record: Record) -> Facets:
        """What a record is searched by; nothing of a deletion, and of what is no resource."""
        if not record.content or record.record_type not in R4_TYPES:
            return Facets()
        resource = json.loads(record.content)
        words = [_word("type", record.record_type)]
        moments = [(STORED, record.committed_at_ms, record.committed_at_ms + 1)]
        for name, parameter in _indexed(record.record_type).items():
            if parameter.kind == "token":
                words += [_word(name, code) for code in codes_in(parameter, resource)]
            else:
                moments += [(name, begin, end) for begin, end in intervals_in(parameter, resource)]
        return Facets(tuple(dict.fromkeys(words)), tuple(dict.fromkeys(moments)))


def wanted_by(query: Query) -> Wanted | None:
    """What a query wants of the search index; None where that could not narrow it, or not give its order."""
    known = _indexed(query.resource_type)
    order: tuple[str, bool] | None = None
    if query.order:
        first = query.order[0]
        if len(query.order) > 1 or (
            first.name != STORED and (first.name not in known or known[first.name].kind != "date")
        ):
            return None
        order = first.name, first.descending
    words: list[frozenset[str]] = []
    bounds: list[tuple[Bounds, ...]] = []
    for name, _, value in query.filters:
        if name == STORED or (name in known and known[name].kind == "date"):
            bounds.append(tuple(_bounds(name, one) for one in alternatives(value)))
        elif name in known:
            codes = [code for _, code in map(token_parts, alternatives(value))]
            if all(codes):  # otherwise any code of a system
                words.append(frozenset(_word(name, code) for code in codes))
    if not (words or bounds or order):
        return None
    of_type = frozenset({_word("type", query.resource_type)})
    return Wanted(query.resource_type, (*words, of_type), tuple(bounds), order)


def _indexed(resource_type: str) -> dict[str, Parameter]:
    """The parameters of a type that the index answers."""
    known = parameters_of(resource_type)
    return {
        name: one
        for name, one in known.items()
        if one.elements and (one.kind == "date" or (one.kind == "token" and not one.exact))
    }


def _word(name: str, code: str) -> str:
    return f"{name}={code.casefold()}"


def _bounds(name: str, text: str) -> Bounds:
    """Where what matches one date must begin and end; wider where both do not say it."""
    prefix, (begin, end) = read_date(name, text)
    if prefix == "eq":
        return Bounds(name, begins_from=begin, ends_until=end)
    if prefix in ("gt", "ge"):
        return Bounds(name, ends_from=(end if prefix == "gt" else begin) + 1)
    if prefix in ("lt", "le"):
        return Bounds(name, begins_until=(begin if prefix == "lt" else end) - 1)
    if prefix == "sa":
        return Bounds(name, begins_from=end)
    return Bounds(name, ends_until=begin) if prefix == "eb" else Bounds(name)
