"""One resource written, changed or deleted. What comes in is kept byte for byte, but for the id a create gives it.

A write may hang on a condition (``twinward.fhir.conditional``): such writes go one at a time, so that of two that
create the same thing only if it is absent, the second finds the first.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field, replace

import msgspec

from twinward.access.interfaces import Principal
from twinward.clock import Clock
from twinward.fhir.bundle import Entry, ParsedBundle, read_bundle
from twinward.fhir.conditional import Conditions, Match
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.patients import patient_imports
from twinward.fhir.query import Query
from twinward.fhir.render import reference_of
from twinward.fhir.search import Search
from twinward.fhir.strict_json import REQUEST_LIMITS
from twinward.identifiers import uuid7
from twinward.twins.errors import VersionMismatch
from twinward.twins.models import PatientImport
from twinward.twins.service import Twins
from twinward.vault.errors import VersionConflict
from twinward.vault.interfaces import Record, RecordHead
from twinward.vocabulary import Action, Purpose

_ETAG = re.compile(r'\s*(?:W/)?"?([1-9][0-9]{0,9})"?\s*')


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a write: ``content`` is what is kept now.

    ``reference`` and ``content`` are empty where a conditional create found what the caller may not read.
    """

    reference: str
    created: bool
    version: int
    at_ms: int
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Editing:
    """Create, update and delete. Whoever may not write at all is refused before what they send is looked at."""

    twins: Twins
    clock: Clock
    one_condition_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def create(
        self,
        principal: Principal,
        resource_type: str,
        body: bytes,
        *,
        purpose: Purpose,
        unless: Query | None = None,
    ) -> Written:
        """Keep a new resource under an id of the node's own making; an id it came with is replaced, as FHIR asks.

        Args:
            principal, resource_type, body, purpose: who creates what, and why.
            unless: write nothing if there is one such resource already (``If-None-Exist``).

        Raises:
            AccessDenied: the principal may not write here.
            InvalidResource: not a resource of this type, or nobody's.
            TwinNotFound: its patient is not kept here.
            SeveralMatch: there are several such resources already.
        """
        self.twins.require(principal, Action.WRITE, purpose)
        entry = _one_resource(body, resource_type)
        if unless is None:
            return self._create(principal, entry, body, purpose)
        with self.one_condition_at_a_time:
            match = self._conditions.match(principal, unless, purpose=purpose)
            if match is None:
                return self._create(principal, entry, body, purpose)
        return self._found(principal, match, purpose)

    def update_where(
        self, principal: Principal, resource_type: str, where: Query, body: bytes, *, purpose: Purpose
    ) -> Written:
        """Update the one resource a condition is true of; create it where there is none.

        Raises:
            AccessDenied, InvalidResource, TwinNotFound, SeveralMatch: as ``create``; denied also to who may not read.
            VersionMismatch: somebody else wrote between the look and the write.
        """
        self.twins.require(principal, Action.WRITE, purpose)
        entry = _one_resource(body, resource_type)
        with self.one_condition_at_a_time:
            match = self._conditions.match(principal, where, purpose=purpose)
            if match is None and "id" not in entry.body:
                return self._create(principal, entry, body, purpose)
            if match is None:
                return self._update(principal, entry, None, purpose)
            reference = reference_of(self._opened(principal, match, purpose))
            resource_id = reference.partition("/")[2]
            if entry.body.get("id", resource_id) != resource_id:
                raise InvalidResource(
                    Issue("value", f"{resource_type}.id", "is not the id of what the condition finds")
                )
            named = entry if "id" in entry.body else _named(entry, body, resource_id)
            return self._update(principal, named, match.head.version, purpose)

    def delete_where(self, principal: Principal, where: Query, *, purpose: Purpose) -> RecordHead | None:
        """Delete the one resource a condition is true of; None where there is none. Raises as ``update_where``."""
        self.twins.require(principal, Action.WRITE, purpose)
        with self.one_condition_at_a_time:
            match = self._conditions.match(principal, where, purpose=purpose)
            if match is None:
                return None
            reference = reference_of(self._opened(principal, match, purpose))
            return self.twins.versions.delete(principal, purpose, reference, follows=match.head.version)

    def _create(self, principal: Principal, entry: Entry, body: bytes, purpose: Purpose) -> Written:
        resource_id = uuid7(self.clock.now_ms())
        named = _named(entry, body, resource_id)
        receipt = self.twins.ingest(principal, _import_of(named, follows=0), purpose=purpose)
        return Written(named.reference, True, 1, receipt.at_ms, named.content)

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
        return self._update(principal, entry, follows, purpose)

    def _update(self, principal: Principal, entry: Entry, follows: int | None, purpose: Purpose) -> Written:
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

    @property
    def _conditions(self) -> Conditions:
        return Conditions(Search(self.twins))

    def _found(self, principal: Principal, match: Match, purpose: Purpose) -> Written:
        """What a conditional create answers with. Whoever may not read it learns only that it is there."""
        head = match.head
        if match.record is None and not self.twins.finding.may_open(principal, purpose, head):
            return Written("", False, head.version, head.committed_at_ms, b"")
        record = self._opened(principal, match, purpose)
        return Written(reference_of(record), False, record.version, record.committed_at_ms, record.content)

    def _opened(self, principal: Principal, match: Match, purpose: Purpose) -> Record:
        return match.record or self.twins.finding.open(principal, purpose, match.head)

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
    if resource_type == "Bundle":
        issue = Issue("not-supported", "Bundle", "a Bundle is not kept as one resource: its entries are")
        raise InvalidResource(issue, hint="post it to the base address, as a transaction or batch")
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


def _named(entry: Entry, body: bytes, resource_id: str) -> Entry:
    """The entry under an id of the node's choosing."""
    content = _with_id(body, entry, resource_id)
    reference = f"{entry.resource_type}/{resource_id}"
    return replace(entry, reference=reference, body=entry.body | {"id": resource_id}, content=content)


def _with_id(body: bytes, entry: Entry, resource_id: str) -> bytes:
    """The resource under its new id. Where it came with one, its top level is written anew; values keep their bytes."""
    own = b'"id":"' + resource_id.encode() + b'"'
    if "id" not in entry.body:
        return b"{" + own + b"," + body.strip(b" \t\n\r")[1:]
    members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    rest = [msgspec.json.encode(name) + b":" + bytes(raw) for name, raw in members.items() if name != "id"]
    return b"{" + b",".join([own, *rest]) + b"}"
