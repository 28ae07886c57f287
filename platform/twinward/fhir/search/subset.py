"""A part of a resource: ``_summary`` and ``_elements``. https://hl7.org/fhir/R4/search.html#summary.

What is left keeps its bytes. ``meta.tag`` says SUBSETTED, so that nobody writes a part back over the whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.server_meta import Members, members_of, object_of
from twinward.fhir.search.shared_parameters import SUBSETS, require_served
from twinward.fhir.validation.validate import summary_of

_SUMMARIES = frozenset({"true", "text", "data", "count", "false"})
_ELEMENT = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_MAX_ELEMENTS = 50
_SUBSETTED = b'{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}'
_ALWAYS = frozenset({"resourceType", "id", "meta"})


@dataclass(frozen=True, slots=True)
class Subset:
    """Which part. ``summary`` is a code of SummaryType, empty for none; ``elements`` are top-level names."""

    summary: str = ""
    elements: frozenset[str] = frozenset()

    @property
    def only_counts(self) -> bool:
        """Whether the answer is a number and no resource."""
        return self.summary == "count"

    def of(self, resource_type: str, content: bytes) -> bytes:
        """This part of a resource, its values byte for byte."""
        kept = self._kept(resource_type)
        if kept is None and self.summary != "data":
            return content
        members = members_of(content)
        dropped = {"text"} if self.summary == "data" else set()
        chosen = {
            name: raw
            for name, raw in members.items()
            # _birthDate holds what birthDate is extended by
            if (kept is None or name.removeprefix("_") in kept) and name not in dropped
        }
        chosen["meta"] = msgspec.Raw(_tagged(chosen.get("meta")))
        return object_of(chosen)

    def _kept(self, resource_type: str) -> frozenset[str] | None:
        """The names that stay; None for all of them."""
        if self.elements:
            return self.elements | _ALWAYS | summary_of(resource_type).required
        if self.summary == "text":
            return frozenset({"text"}) | _ALWAYS | summary_of(resource_type).required
        if self.summary == "true":
            marked = summary_of(resource_type).marked
            return marked | _ALWAYS if marked else None
        return None


WHOLE = Subset()
COUNTED = Subset("count")
"""What ``_count=0`` asks for, too: https://hl7.org/fhir/R4/search.html#count."""


def read_subset(pairs: Sequence[tuple[str, str]]) -> Subset:
    """The part a request asks for. Raises ``InvalidResource`` for one that is none, or for two at once."""
    summary = next((value for name, value in pairs if name == "_summary"), "")
    listed = [one for name, value in pairs if name == "_elements" for one in value.split(",")]
    if summary and summary not in _SUMMARIES:
        raise InvalidResource(Issue("value", "", f"_summary is one of {', '.join(sorted(_SUMMARIES))}"))
    if len(listed) > _MAX_ELEMENTS or not all(_ELEMENT.fullmatch(one) for one in listed):
        raise InvalidResource(Issue("value", "", f"_elements takes up to {_MAX_ELEMENTS} names of elements"))
    if listed and summary not in ("", "false"):
        raise InvalidResource(Issue("conflict", "", "either _summary or _elements"))
    return _subset("" if summary == "false" else summary, frozenset(listed))


def subset_asked(pairs: Sequence[tuple[str, str]]) -> Subset:
    """The part that a read asks for. Raises as ``read_subset``, and for any other parameter by name."""
    require_served("a read", pairs, SUBSETS)
    return read_subset(pairs)


@lru_cache(maxsize=64)
def _subset(summary: str, elements: frozenset[str]) -> Subset:
    return Subset(summary, elements)


def _tagged(meta: msgspec.Raw | None) -> bytes:
    members: Members = {} if meta is None else members_of(meta)
    tags = msgspec.json.decode(members["tag"], type=list[msgspec.Raw]) if "tag" in members else []
    members["tag"] = msgspec.Raw(b"[" + b",".join([*map(bytes, tags), _SUBSETTED]) + b"]")
    return object_of(members)
