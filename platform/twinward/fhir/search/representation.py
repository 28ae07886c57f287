"""One resource as it goes out: the bytes that are kept, or a part of them, under the server's ``meta``, and its ETag.

Resources are never decoded and written anew, so that ``1.10`` stays ``1.10``. Only ``meta.versionId`` and
``meta.lastUpdated`` are put in; HL7's signatures leave ``meta`` out. Of a part (``_summary``, ``_elements``:
https://hl7.org/fhir/R4/search.html#summary) ``meta.tag`` says SUBSETTED, so that nobody writes it back over the whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from twinward.core.clock import iso
from twinward.core.preconditions import ONLY_SAVING, Preconditions
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.edits import Members, members_of, object_of, parted
from twinward.fhir.preconditions import AS_WRITTEN, selected
from twinward.fhir.resource_types import R4_ONLY, R4_TYPES
from twinward.fhir.search.parameters import SUBSETS, require_served
from twinward.twins.errors import VersionMismatch
from twinward.twins.models import Standing
from twinward.vault.interfaces import Record

if TYPE_CHECKING:
    from pydantic import BaseModel


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
    if not pairs:
        return WHOLE
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


@lru_cache(maxsize=256)
def _model(resource_type: str) -> type[BaseModel]:
    # Imported when first needed, and one type at a time: the whole library takes seconds.
    from fhir.resources.R4B import get_fhir_model_class

    model: type[BaseModel] = get_fhir_model_class(resource_type)
    return model


@dataclass(frozen=True, slots=True)
class Summary:
    """Top-level elements of a type: those every resource of it has, and those its summary shows (none if unknown)."""

    required: frozenset[str] = frozenset()
    marked: frozenset[str] = frozenset()


@lru_cache(maxsize=256)
def summary_of(resource_type: str) -> Summary:
    """What R4B's model of a type says of its elements; nothing for the types it does not model."""
    if resource_type in R4_ONLY:
        return Summary()
    required, marked = set(), set()
    for name, field in _model(resource_type).model_fields.items():
        marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if marks.get("element_required") or field.is_required():
            required.add(field.alias or name)
        if marks.get("summary_element_property"):
            marked.add(field.alias or name)
    return Summary(frozenset(required), frozenset(marked))


MEDIA_TYPE = "application/fhir+json"


def is_resource(record: Record) -> bool:
    """Whether a record is a FHIR resource, and not one of the node's own (features, monitoring, the directory)."""
    return record.record_type in R4_TYPES


def reference_of(record: Record) -> str:
    """A record's ``Type/id``."""
    return record.references[0]


def shown(record: Record, subset: Subset = WHOLE) -> bytes:
    """A record as FHIR answers with it: the bytes that are kept, or a part of them, under the server's ``meta``."""
    resource = subset.of(record.record_type, record.content)
    return with_server_meta(resource, record.version, record.committed_at_ms)


def etag(version: int) -> str:
    """The weak entity tag of a version, https://hl7.org/fhir/R4/http.html#versioning."""
    return f'W/"{version}"'


_BLANK = b" \t\n\r"
_HEAD = re.compile(rb'\{[ \t\n\r]*"resourceType"[ \t\n\r]*:[ \t\n\r]*"[A-Za-z]{1,64}"(?=[ \t\n\r]*[,}])')


def with_server_meta(content: bytes, version: int, at_ms: int) -> bytes:
    """A resource as it is shown.

    Args:
        content: as it is kept, or a part of it.
        version: which version this is.
        at_ms: when it was committed.
    """
    content = content.lstrip(_BLANK)  # an earlier release kept blanks before it
    own = b'"versionId":"%d","lastUpdated":"%s"' % (version, iso(at_ms).encode())
    if b'"meta"' not in content and b"\\u" not in content:  # a name may be written with escapes
        head = _HEAD.match(content)
        if head is None:
            return b'{"meta":{' + own + b"}," + content[1:]
        return head[0] + b',"meta":{' + own + b"}" + content[head.end() :]
    members = members_of(content)
    _, rest = parted(members.get("meta", b"{}"))
    members["meta"] = msgspec.Raw(b"{" + own + (b"," + object_of(rest)[1:] if rest else b"}"))
    return object_of(members)


def is_known(asked: Preconditions, version: int, at_ms: int) -> bool:
    """Whether a read that was permitted is answered 304, since the caller has this version already.

    Raises:
        VersionMismatch: it asked for another version, or for one that was not changed since.
    """
    if asked.are_none:
        return False
    failing = asked.failing(selected(Standing(version, at_ms)), weakly=True)
    if failing and failing not in ONLY_SAVING:
        raise VersionMismatch(f"{AS_WRITTEN[failing]} does not hold: this is version {version}")
    return bool(failing)
