"""One resource written, changed or deleted. What comes in is kept byte for byte, but for the id a create gives
it and what ``meta`` says of version and time.

A write may hang on preconditions (``twinward.fhir.preconditions``): what they are about is looked at in the
turn of the write itself. It may hang on a condition as well (``twinward.fhir.search.conditional``): such writes go one
at a time, so that of two that create the same thing only if it is absent, the second finds the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from twinward.access.interfaces import AccessContext
from twinward.core.clock import Clock
from twinward.core.errors import told
from twinward.core.ids import uuid7
from twinward.core.one_look import one_look
from twinward.core.preconditions import NONE, Preconditions
from twinward.core.vocabulary import Action
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.edits import with_id, without_server_meta
from twinward.fhir.json.strict_json import REQUEST_LIMITS
from twinward.fhir.mapping.bundle import Entry, ParsedBundle, Part, read_document
from twinward.fhir.mapping.records import patient_imports
from twinward.fhir.mapping.references import name_parts
from twinward.fhir.preconditions import Moved, look_again, moved, require_standing
from twinward.fhir.search.conditional import Conditions, Match
from twinward.fhir.search.query import Query
from twinward.fhir.search.representation import reference_of, shown, with_server_meta
from twinward.fhir.search.service import Search
from twinward.twins.errors import RecordNotFound, VersionMismatch
from twinward.twins.models import IfKept, PatientImport, Receipt, Standing
from twinward.twins.read.versions import Guard
from twinward.twins.service import Twins
from twinward.vault.errors import NotReleased, VersionConflict
from twinward.vault.interfaces import Record, RecordHead


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
class New:
    """A resource to be created: by whom, of which type, and what gives its JSON, or raises why there is none."""

    context: AccessContext
    resource_type: str
    body: Callable[[], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Writes:
    """Create, update and delete. Whoever may not write at all is refused before what they send is looked at."""

    twins: Twins
    clock: Clock

    def create(
        self, context: AccessContext, resource_type: str, body: bytes, *, unless: Query | None = None
    ) -> Written:
        """Keep a new resource under an id of the node's own making; an id it came with is replaced, as FHIR asks.

        Args:
            context, resource_type, body: who creates what, and why.
            unless: write nothing if there is one such resource already (``If-None-Exist``).

        Raises:
            AccessDenied: the principal may not write here.
            InvalidResource: not a resource of this type, or nobody's.
            TwinNotFound: its patient is not kept here.
            SeveralMatch: there are several such resources already.
        """
        self.twins.require(context, Action.WRITE)
        entry = _one_resource(body, resource_type, self.clock)
        if unless is None:
            return self._create(context, entry, body)
        with self.twins.conditions:
            match = self._conditions.match(context, unless)
            if match is None:
                return self._create(context, entry, body)
        return self._found(context, match)

    def create_each(self, asked: Sequence[New]) -> list[Written | Exception]:
        """What ``create`` gives or raises for each of several, which have nothing to do with each other.

        They share the durable steps that one takes. Nothing but what is returned is raised: some may be written.
        """
        outcomes: dict[int, Written | Exception] = {}
        named: dict[int, Entry] = {}
        with one_look():
            for number, one in enumerate(asked):
                with told(outcomes, number):
                    body = one.body()
                    self.twins.require(one.context, Action.WRITE)
                    named[number] = self._renamed(_one_resource(body, one.resource_type, self.clock), body)
            sources = {}
            for number, entry in named.items():
                with told(outcomes, number):
                    sources[number] = asked[number].context, _import_of(entry, follows=0)
        for number, receipt in zip(sources, self.twins.ingest_each(list(sources.values())), strict=True):
            with told(outcomes, number):
                outcomes[number] = receipt if isinstance(receipt, Exception) else _created(named[number], receipt)
        return [outcomes[number] for number in range(len(asked))]

    def update_where(
        self, context: AccessContext, resource_type: str, where: Query, body: bytes, *, asked: Preconditions = NONE
    ) -> Written:
        """Update the one resource a condition is true of; create it where there is none.

        Raises:
            AccessDenied, InvalidResource, TwinNotFound, SeveralMatch: as ``create``; denied also to who may not read.
            VersionMismatch: a precondition does not hold of what the condition finds; where it finds nothing, of the
                id that the resource brings.
        """
        self.twins.require(context, Action.WRITE)
        entry = _one_resource(body, resource_type, self.clock)

        def once() -> Written:
            match = self._conditions.match(context, where)
            if match is None and "id" in entry.body:
                return self._update(context, entry, asked)
            if match is None:
                self._require_nothing(context, resource_type, asked)
                return self._create(context, entry, body)
            reference = reference_of(self._opened(context, match))
            resource_id = reference.partition("/")[2]
            if entry.body.get("id", resource_id) != resource_id:
                issue = Issue("value", f"{resource_type}.id", "is not the id of what the condition finds")
                raise InvalidResource(issue)
            named = entry if "id" in entry.body else _named(entry, body, resource_id)
            return self._update(context, named, asked, found=match.head.version)

        with self.twins.conditions:
            return look_again(once)

    def delete_where(self, context: AccessContext, where: Query, *, asked: Preconditions = NONE) -> RecordHead | None:
        """Delete the one resource a condition is true of; None where there is none. Raises as ``update_where``."""
        self.twins.require(context, Action.WRITE)

        def once() -> RecordHead | None:
            match = self._conditions.match(context, where)
            if match is None:
                self.twins.search.note(context, None, "no-match")
                require_standing(asked, where.resource_type, Standing())
                return None
            reference = reference_of(self._opened(context, match))
            guard = _guard(asked, reference, match.head.version)
            return self.twins.versions.delete(context, reference, guard=guard)

        with self.twins.conditions:
            return look_again(once)

    def _require_nothing(self, context: AccessContext, resource_type: str, asked: Preconditions) -> None:
        """Hold preconditions against what a condition did not find."""
        try:
            require_standing(asked, resource_type, Standing())
        except VersionMismatch:
            self.twins.search.note(context, None, "no-match")
            raise

    def _create(self, context: AccessContext, entry: Entry, body: bytes) -> Written:
        named = self._renamed(entry, body)
        return _created(named, self.twins.ingest(context, _import_of(named, follows=0)))

    def _renamed(self, entry: Entry, body: bytes) -> Entry:
        return _named(entry, body, uuid7(self.clock.now_ms()))

    def update(
        self, context: AccessContext, resource_type: str, resource_id: str, body: bytes, *, asked: Preconditions = NONE
    ) -> Written:
        """Keep a new version, or the first under this id. The same content again is no new version.

        Raises:
            AccessDenied, InvalidResource, TwinNotFound: as ``create``.
            VersionMismatch: a precondition does not hold.
            BelongsToAnother: kept under another patient.
        """
        self.twins.require(context, Action.WRITE)
        entry = _one_resource(body, resource_type, self.clock)
        if entry.body.get("id") != resource_id:
            raise InvalidResource(Issue("value", f"{resource_type}.id", "is not the id of the address"))
        return look_again(lambda: self._update(context, entry, asked))

    def patch(
        self,
        context: AccessContext,
        resource_type: str,
        resource_id: str,
        change: Callable[[bytes], bytes],
        *,
        asked: Preconditions = NONE,
    ) -> Written:
        """Keep what a change makes of the present version, as ``update`` would; of somebody else's it is made anew.

        Args:
            change: makes the next version's JSON of the present one's, as it is read. What it raises ends the patch.

        Raises:
            AccessDenied, InvalidResource, VersionMismatch, BelongsToAnother: as ``update``; denied also to who may not
                read what is patched.
            NotFound, RecordDeleted: nothing is kept under this name.
        """
        self.twins.require(context, Action.WRITE)
        reference = f"{resource_type}/{resource_id}"

        return look_again(lambda: self._patch(context, self.twins.read_reference(context, reference), change, asked))

    def patch_where(
        self, context: AccessContext, where: Query, change: Callable[[bytes], bytes], *, asked: Preconditions = NONE
    ) -> Written:
        """Patch the one resource a condition is true of.

        Raises:
            SeveralMatch: it is true of more than one.
            RecordNotFound: it is true of none; nothing is created.
            AccessDenied, InvalidResource, VersionMismatch, BelongsToAnother: as ``patch``.
        """
        self.twins.require(context, Action.WRITE)

        def once() -> Written:
            match = self._conditions.match(context, where)
            if match is None:
                self.twins.search.note(context, None, "no-match")
                require_standing(asked, where.resource_type, Standing())
                raise RecordNotFound("no resource is what the condition is true of")
            return self._patch(context, self._opened(context, match), change, asked)

        with self.twins.conditions:
            return look_again(once)

    def _patch(
        self, context: AccessContext, present: Record, change: Callable[[bytes], bytes], asked: Preconditions
    ) -> Written:
        """Write what a change makes of a version that was read. Raises ``Moved`` where it is another one by then."""
        resource_type, _, resource_id = reference_of(present).partition("/")
        # Told already now, to one who has just read that version: not that the change does not fit another one.
        require_standing(asked, reference_of(present), Standing(present.version, present.committed_at_ms))
        entry = _one_resource(change(shown(present)), resource_type, self.clock)
        if entry.body.get("id") != resource_id:
            raise InvalidResource(Issue("value", f"{resource_type}.id", "a patch does not change it"))
        return self._update(context, entry, asked, found=present.version)

    def _update(
        self, context: AccessContext, entry: Entry, asked: Preconditions, *, found: int | None = None
    ) -> Written:
        """Look and write in one turn. ``found`` is the version that a condition was true of."""
        finding, versions = self.twins.search, self.twins.versions
        with self.twins.writing:
            standing = versions.standing(entry.reference)
            try:
                _guard(asked, entry.reference, found)(standing)
                source = _import_of(entry, follows=standing.version)
                receipt = self.twins.ingest(context, source)
            except Moved:
                raise
            except VersionConflict:
                raise moved() from None
            except VersionMismatch:
                answer = "other-version" if standing.version else "nothing-kept"
                finding.note(context, versions.newest(entry.reference), answer)
                raise
            stored = next(one for one in receipt.stored if one.reference == entry.reference)
            if stored.change == "unchanged":
                finding.note(context, versions.newest(entry.reference), "same-content")
        version, at_ms = (stored.version, receipt.at_ms) if stored.version else (standing.version, standing.at_ms)
        content = with_server_meta(entry.content, version, at_ms)
        return Written(entry.reference, stored.began, version, at_ms, content)

    def delete(
        self, context: AccessContext, resource_type: str, resource_id: str, *, asked: Preconditions = NONE
    ) -> RecordHead:
        """Write the version that says it was deleted. Raises as ``Versions.delete``; preconditions are its guard."""
        reference = f"{resource_type}/{resource_id}"
        guard = _guard(asked, reference, None)
        return self.twins.versions.delete(context, reference, guard=guard)

    @property
    def _conditions(self) -> Conditions:
        return Conditions(Search(self.twins))

    def _found(self, context: AccessContext, match: Match) -> Written:
        """What a conditional create answers with. Whoever may not read it learns only that it is there."""
        head = match.head
        finding = self.twins.search
        if match.record is None and not finding.may_open(context, head):
            finding.note(context, head, "one-match")
            return Written("", False, head.version, head.committed_at_ms, b"")
        try:
            record = self._opened(context, match)
        except NotReleased:
            return Written("", False, head.version, head.committed_at_ms, b"")
        return Written(reference_of(record), False, record.version, record.committed_at_ms, shown(record))

    def _opened(self, context: AccessContext, match: Match) -> Record:
        finding = self.twins.search
        return match.record or finding.open(context, match.head)


def _created(entry: Entry, receipt: Receipt) -> Written:
    return Written(entry.reference, True, 1, receipt.at_ms, with_server_meta(entry.content, 1, receipt.at_ms))


def _guard(asked: Preconditions, reference: str, found: int | None) -> Guard:
    """What must hold of a reference when it is written."""

    def guard(standing: Standing) -> None:
        if found is not None and standing.version != found:
            raise moved()
        require_standing(asked, reference, standing)

    return guard


@dataclass(frozen=True, slots=True)
class _OwnId:
    """The ``Naming`` of a resource that stands alone: the id it came with, else a new one."""

    clock: Clock

    def name(self, part: Part) -> tuple[str, IfKept]:
        """Either; what becomes of what is kept, the write says."""
        return part.resource_id or uuid7(self.clock.now_ms()), IfKept.UPDATE

    def foreign(self, _part: Part, _reference: str, /) -> str | None:
        """It is said to this server, so it means what is kept here."""
        return None


def _one_resource(body: bytes, resource_type: str, clock: Clock) -> Entry:
    if resource_type == "Bundle":
        issue = Issue("not-supported", "Bundle", "a Bundle is not kept as one resource: its entries are")
        raise InvalidResource(issue, hint="post it to the base address, as a transaction or batch")
    document = read_document(body, limits=REQUEST_LIMITS)
    if document.kind != "resource" or document.parts[0].resource_type != resource_type:
        raise InvalidResource(Issue("value", f"{resource_type}.resourceType", "is not the type of the address"))
    return name_parts(document, _OwnId(clock)).bundle.entries[0]


def _import_of(entry: Entry, *, follows: int | None) -> PatientImport:
    """The import of a resource that stands alone: it changes what is kept, shared resources included."""
    source = patient_imports(ParsedBundle("resource", (replace(entry, if_kept=IfKept.UPDATE),)))[0]
    records = tuple(
        replace(one, follows=follows) if one.reference == entry.reference else one for one in source.records
    )
    return replace(source, records=records)


def _named(entry: Entry, body: bytes, resource_id: str) -> Entry:
    """The entry under an id of the node's choosing."""
    content = with_id(without_server_meta(body.strip(b" \t\n\r")), str(entry.body.get("id", "")), resource_id)
    reference = f"{entry.resource_type}/{resource_id}"
    return replace(entry, reference=reference, body=entry.body | {"id": resource_id}, content=content)
