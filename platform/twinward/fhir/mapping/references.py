"""Which name each resource of a bundle gets, and what its links then say. https://hl7.org/fhir/R4/http.html#trules.

A POST gets a new id; the fullUrl and the id it came with are placeholders that mean it within this bundle and nowhere
else. A PUT keeps its id. What ``ifNoneExist`` finds is not written: its placeholders mean what is kept. Links are
replaced in the resource's own bytes; a reference at this node's own base becomes relative, and any other base is
another server's resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from twinward.access.errors import AccessDenied
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.edits import RELATIVE, restful, rewrite, with_id
from twinward.fhir.json.strict_json import IMPORT_LIMITS, JsonObject, Limits
from twinward.fhir.mapping.bundle import Document, Entry, ParsedBundle, Part, read_document
from twinward.fhir.mapping.ids import Naming
from twinward.fhir.resource_types import R4_TYPES
from twinward.twins.models import IfKept

_HIDDEN = ""
"""The name of what a condition is true of, and the caller may not read."""


class Finder(Protocol):
    """Looks up what a condition is true of."""

    def find(self, resource_type: str, condition: str, among: Mapping[str, JsonObject]) -> str | None:
        """``Type/id`` of the only resource it is true of, kept or among those about to be; None where there is none.

        Raises:
            SeveralMatch: of several.
            InvalidResource: no condition that is served.
            AccessDenied: only a search would tell, or the caller may not read what it is true of.
        """
        ...


@dataclass(frozen=True, slots=True)
class NamedBundle:
    """A bundle under its names. By the number of the entry: what is written, found instead, or deleted.

    ``found`` and ``deleted`` are ``Type/id``. One that was found and the caller may not read is empty, and so is a
    deletion on a condition that is true of nothing.
    """

    kind: str
    written: Mapping[int, Entry]
    found: Mapping[int, str] = field(default_factory=dict)
    deleted: Mapping[int, str] = field(default_factory=dict)

    @property
    def bundle(self) -> ParsedBundle:
        """What is written."""
        return ParsedBundle(self.kind, tuple(self.written.values()))


def read_bundle(
    data: bytes,
    naming: Naming,
    *,
    limits: Limits = IMPORT_LIMITS,
    finder: Finder | None = None,
) -> NamedBundle:
    """Resources out of untrusted bytes, under their names: for what is imported, not asked for.

    Raises:
        InvalidResource: for anything malformed; the first problem is named, nothing is returned in part.
        SeveralMatch, AccessDenied: as the finder does.
    """
    document = read_document(data, limits=limits)
    asked = next((part for part in document.parts if part.method in ("GET", "PATCH", "DELETE")), None)
    if asked is not None:
        issue = Issue(
            "not-supported", f"{asked.path}.request.method", "a file brings resources, and asks for nothing else"
        )
        raise InvalidResource(issue, hint="send GET, PATCH and DELETE to the API, in a transaction or a batch")
    hanging = next((part for part in document.parts if not part.asked.are_none), None)
    if hanging is not None:
        member = "ifNoneMatch" if hanging.asked.if_match is None else "ifMatch"
        issue = Issue("not-supported", f"{hanging.path}.request.{member}", "is not looked at in a file")
        raise InvalidResource(issue, hint="say with --again what becomes of what is kept, or post it as a transaction")
    return name_parts(document, naming, finder=finder)


def name_parts(document: Document, naming: Naming, *, base: str = "", finder: Finder | None = None) -> NamedBundle:
    """Name every resource of a document and rewrite its links.

    Args:
        document: as it was read.
        naming: the door's.
        base: of this node, as the caller knows it; empty where there is none.
        finder: for conditions; without one they are refused.

    Raises:
        InvalidResource: a name stands twice, a condition names nothing, a reference could be to either of two.
        SeveralMatch, AccessDenied: as the finder does.
    """
    return _Naming(document, naming, base, finder).all()


class _Naming:
    """One document being named."""

    def __init__(self, document: Document, naming: Naming, base: str, finder: Finder | None) -> None:
        self._document = document
        self._naming = naming
        self._base = base
        self._finder = finder
        self._by_url: dict[str, str] = {}
        self._by_reference: dict[str, str | None] = {}  # None: of two, so of neither
        self._resources: dict[str, JsonObject] = {}
        self._resolved: dict[str, str] = {}
        self._refusal: AccessDenied | None = None

    def all(self) -> NamedBundle:
        """Names first, then links."""
        targets: dict[int, tuple[str, IfKept]] = {}
        found: dict[int, str] = {}
        deleted: dict[int, str] = {}
        for index, part in enumerate(self._document.parts):
            if part.method == "DELETE":
                deleted[index] = self._deleted(part)
            elif part.body is not None:
                existing = self._existing(part)
                if existing is not None and part.method == "POST":
                    found[index] = existing
                    self._note(part, existing)
                else:
                    targets[index] = self._target(part, existing)
                    self._note(part, targets[index][0])
        self._check_unique(targets, found, deleted)
        parts = self._document.parts
        self._resources = {target: parts[index].body or {} for index, (target, _) in targets.items()}
        written = {index: self._entry(parts[index], *target) for index, target in targets.items()}
        return NamedBundle(self._document.kind, written, found, deleted)

    def _existing(self, part: Part) -> str | None:
        """What the condition of a create or an update is true of; of a create also that it is something hidden."""
        condition = part.if_none_exist if part.method == "POST" else part.url.partition("?")[2]
        if not condition:
            return None
        where = f"{part.path}.request.{'ifNoneExist' if part.method == 'POST' else 'url'}"
        try:
            return self._found(part.resource_type, condition, where)
        except AccessDenied as refusal:
            if part.method != "POST":
                raise
            self._refusal = refusal
            return _HIDDEN

    def _deleted(self, part: Part) -> str:
        kind, _, condition = part.url.partition("?")
        if condition:
            return self._found(kind, condition, f"{part.path}.request.url") or ""
        match = RELATIVE.fullmatch(part.url)
        if match is None or match[1] != part.url or kind.partition("/")[0] not in R4_TYPES:
            raise InvalidResource(Issue("value", f"{part.path}.request.url", "a deletion names one Type/id"))
        return part.url

    def _found(self, kind: str, condition: str, path: str, among: Mapping[str, JsonObject] | None = None) -> str | None:
        if self._finder is None:
            raise InvalidResource(Issue("not-supported", path, "conditions are not served here"))
        return self._finder.find(kind, condition, among or {})

    def _target(self, part: Part, existing: str | None) -> tuple[str, IfKept]:
        """The name of a resource that is written."""
        kind, own = part.resource_type, part.resource_id
        if part.method != "PUT":
            name, if_kept = self._naming.name(part)
            return f"{kind}/{name}", if_kept
        if existing is not None and own and existing != f"{kind}/{own}":
            issue = Issue("value", f"{part.path}.resource.id", "is not the id of what the condition finds")
            raise InvalidResource(issue)
        if existing is not None or own:
            return existing or f"{kind}/{own}", IfKept.UPDATE
        return f"{kind}/{self._naming.name(part)[0]}", IfKept.REFUSE

    def _note(self, part: Part, target: str) -> None:
        """Remember what an entry's placeholders mean."""
        if part.full_url:
            self._by_url[_key(part.full_url)] = target
        if part.resource_id:
            own = f"{part.resource_type}/{part.resource_id}"
            self._by_reference[own] = target if self._by_reference.get(own, target) == target else None

    def _check_unique(
        self, targets: Mapping[int, tuple[str, IfKept]], found: Mapping[int, str], deleted: Mapping[int, str]
    ) -> None:
        parts = self._document.parts
        changed = {index: target for index, (target, _) in targets.items()} | {
            i: one for i, one in deleted.items() if one
        }
        seen = set(found.values())
        for index, target in sorted(changed.items()):
            if target in seen:
                where = parts[index].path if parts[index].body is None else f"{parts[index].path}.resource"
                raise InvalidResource(Issue("duplicate", where, "another entry has this type and id"))
            seen.add(target)
        conditions: set[tuple[str, str]] = set()
        for index in targets:
            condition = (parts[index].resource_type, parts[index].if_none_exist)
            if condition[1] and condition in conditions:
                where = f"{parts[index].path}.request.ifNoneExist"
                raise InvalidResource(Issue("duplicate", where, "another entry is created on this condition"))
            conditions.add(condition)

    def _entry(self, part: Part, target: str, if_kept: IfKept) -> Entry:
        links: dict[str, str] = {}

        def reference(text: str) -> str | None:
            new = self._told(self._meant(part, text))
            if new is not None:
                links[text] = new
            return new

        def link(text: str) -> str | None:
            return self._told(self._by_url.get(_key(text)))

        content = rewrite(part.raw, reference=reference, link=link)
        resource_id = target.partition("/")[2]
        if part.resource_id != resource_id:
            content = with_id(content, part.resource_id, resource_id)
        path = f"{part.path}.resource" if part.path else part.resource_type
        body = part.body or {}
        return Entry(path, target, part.resource_type, body, content, links, if_kept)

    def _told(self, name: str | None) -> str | None:
        """The name, if the caller may know it: kept in a link, it would tell what a condition found."""
        if name == _HIDDEN and self._refusal is not None:
            raise self._refusal
        return name

    def _meant(self, part: Part, text: str) -> str | None:
        """What a reference of an entry is to say; None where it stays as it is."""
        if text.startswith("#"):
            return None
        if _key(text) in self._by_url:
            return self._by_url[_key(text)]
        absolute = restful(text)
        if absolute:
            inside = self._by_url.get(f"{absolute[1]}/{absolute[2]}")
            return inside or (text.removeprefix(f"{self._base}/") if absolute[1] == self._base else None)
        relative = RELATIVE.fullmatch(text)
        if relative:
            return self._relative(part, relative[1])
        kind, _, condition = text.partition("?")
        if condition and kind in R4_TYPES:
            return self._conditional(part, text)
        return None

    def _relative(self, part: Part, reference: str) -> str | None:
        inside = self._by_url.get(f"{part.base}/{reference}") if part.base else None
        if inside is None and reference in self._by_reference:
            inside = self._by_reference[reference]
            if inside is None:
                issue = Issue("multiple-matches", part.path, "a reference could be to either of two entries")
                raise InvalidResource(issue, hint="give each entry a fullUrl of its own, and refer to that")
        if inside is None:
            return self._naming.foreign(part, reference)
        return None if inside == reference else inside

    def _conditional(self, part: Part, text: str) -> str:
        if self._finder is None:
            issue = Issue(
                "not-supported", f"{part.path}.resource".removeprefix("."), "a reference by a search is not kept"
            )
            raise InvalidResource(issue, hint="send it in a transaction, where it is resolved, or refer to Type/id")
        if text not in self._resolved:
            kind, _, condition = text.partition("?")
            found = self._found(kind, condition, f"{part.path}.resource", self._resources)
            if found is None:
                issue = Issue("not-found", f"{part.path}.resource", "a conditional reference is true of nothing")
                raise InvalidResource(issue, hint="send what it refers to first, or in the same transaction")
            self._resolved[text] = found
        return self._resolved[text]


def _key(url: str) -> str:
    """UUIDs are the same in either case (RFC 4122, section 3)."""
    return url.lower() if url[:9].lower() == "urn:uuid:" else url
