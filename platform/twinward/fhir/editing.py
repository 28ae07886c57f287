"""One resource written, changed or deleted. What comes in is kept byte for byte, but for the id a create gives it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import msgspec

from twinward.access.interfaces import Principal
from twinward.clock import Clock
from twinward.fhir.bundle import Entry, ParsedBundle, read_bundle
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.patients import patient_imports
from twinward.fhir.strict_json import REQUEST_LIMITS
from twinward.identifiers import uuid7
from twinward.twins.errors import VersionMismatch
from twinward.twins.models import PatientImport
from twinward.twins.service import Twins
from twinward.vault.errors import VersionConflict
from twinward.vault.interfaces import RecordHead
from twinward.vocabulary import Action, Purpose

_ETAG = re.compile(r'\s*(?:W/)?"?([1-9][0-9]{0,9})"?\s*')


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a write: ``content`` is what is kept now."""

    reference: str
    created: bool
    version: int
    at_ms: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Editing:
    """Create, update and delete. Whoever may not write at all is refused before what they send is looked at."""

    twins: Twins
    clock: Clock

    def create(self, principal: Principal, resource_type: str, body: bytes, *, purpose: Purpose) -> Written:
        """Keep a new resource under an id of the node's own making; an id it came with is replaced, as FHIR asks.

        Raises:
            AccessDenied: the principal may not write here.
            InvalidResource: not a resource of this type, or nobody's.
            TwinNotFound: its patient is not kept here.
        """
        self.twins.require(principal, Action.WRITE, purpose)
        entry = _one_resource(body, resource_type)
        resource_id = uuid7(self.clock.now_ms())
        content = _with_id(body, entry, resource_id)
        named = replace(
            entry, reference=f"{resource_type}/{resource_id}", body=entry.body | {"id": resource_id}, content=content
        )
        self.twins.ingest(principal, _import_of(named, follows=0), purpose=purpose)
        return self._written(named, created=True)

    def update(
        self,
        principal: Principal,
        resource_type: str,
        resource_id: str,
        body: bytes,
        *,
        purpose: Purpose,
        if_match: str = "",
    ) -> Written:
        """Keep a new version, or the first under this id. The same content again is no new version.

        Raises:
            AccessDenied, InvalidResource, TwinNotFound: as ``create``.
            VersionMismatch: ``if_match`` is not the tag of the newest version.
            BelongsToAnother: kept under another patient.
        """
        self.twins.require(principal, Action.WRITE, purpose)
        follows = version_of(if_match) if if_match else None
        entry = _one_resource(body, resource_type)
        if entry.body.get("id") != resource_id:
            raise InvalidResource(Issue("value", f"{resource_type}.id", "is not the id of the address"))
        before = self.twins.versions.newest(entry.reference)
        gone = before is None or self.twins.versions.is_deleted(entry.reference, before)
        try:
            self.twins.ingest(principal, _import_of(entry, follows=follows), purpose=purpose)
        except VersionConflict:
            raise VersionMismatch("somebody else wrote first", hint="read it again and repeat the change") from None
        return self._written(entry, created=gone)

    def delete(
        self, principal: Principal, resource_type: str, resource_id: str, *, purpose: Purpose, if_match: str = ""
    ) -> RecordHead:
        """Write the version that says it was deleted. Raises as ``Versions.delete``."""
        follows = version_of(if_match) if if_match else None
        reference = f"{resource_type}/{resource_id}"
        return self.twins.versions.delete(principal, purpose, reference, follows=follows)

    def _written(self, entry: Entry, *, created: bool) -> Written:
        head = self.twins.versions.newest(entry.reference)
        assert head is not None  # noqa: S101 - narrows the type: it was written just now
        return Written(entry.reference, created, head.version, head.committed_at_ms, entry.content)


def version_of(tag: str) -> int:
    """The version an entity tag names. Raises ``InvalidResource``."""
    match = _ETAG.fullmatch(tag)
    if match is None:
        raise InvalidResource(Issue("value", "", 'If-Match takes one entity tag as it was given, e.g. W/"3"'))
    return int(match[1])


def _one_resource(body: bytes, resource_type: str) -> Entry:
    bundle = read_bundle(body, limits=REQUEST_LIMITS, depth="full")
    entry = bundle.entries[0] if bundle.kind == "resource" else None
    if entry is None or entry.resource_type != resource_type:
        raise InvalidResource(Issue("value", f"{resource_type}.resourceType", "is not the type of the address"))
    return entry


def _import_of(entry: Entry, *, follows: int | None) -> PatientImport:
    """The import of a resource that stands alone: it changes what is kept, shared resources included."""
    source = patient_imports(ParsedBundle("resource", (entry,), {}))[0]
    records = tuple(
        replace(one, follows=follows) if one.reference == entry.reference else one for one in source.records
    )
    return replace(source, records=records, keep_existing=False)


def _with_id(body: bytes, entry: Entry, resource_id: str) -> bytes:
    """The resource under its new id. Where it came with one, its top level is written anew; values keep their bytes."""
    own = b'"id":"' + resource_id.encode() + b'"'
    if "id" not in entry.body:
        return b"{" + own + b"," + body.strip(b" \t\n\r")[1:]
    members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    rest = [msgspec.json.encode(name) + b":" + bytes(raw) for name, raw in members.items() if name != "id"]
    return b"{" + b",".join([own, *rest]) + b"}"
