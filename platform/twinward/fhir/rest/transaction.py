"""Transactions: all of it or nothing, in one durable step. https://hl7.org/fhir/R4/http.html#transaction.

The order is R4's, whatever the order of the entries: conditions are evaluated first, on what is kept, and patches done
on it; then deletions, creates and updates are written together; then what is asked for is read. Where it has
conditions, they and its writes are not interleaved with those of another; what they were true of is looked at again in
the turn of the write, as preconditions (``ifMatch``, ``ifNoneMatch``) are, and one that does not hold fails all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from twinward.access.interfaces import AccessContext
from twinward.core.errors import TwinwardError
from twinward.core.vocabulary import Action, Category
from twinward.fhir.errors import InvalidResource, Issue, outcome_of
from twinward.fhir.json.edits import without_server_meta
from twinward.fhir.json.patch import Operation, PatchFailed, patched
from twinward.fhir.json.strict_json import REQUEST_LIMITS, decode
from twinward.fhir.mapping.bundle import Document, Part, check_document, outline_document
from twinward.fhir.mapping.ids import NewNames
from twinward.fhir.mapping.records import patient_imports
from twinward.fhir.mapping.references import NamedBundle, name_parts
from twinward.fhir.preconditions import look_again, moved, require_standing
from twinward.fhir.rest.entries import MOST_READS, EntryReads, EntryResponse, ReadAllowance, patch_in, response_bundle
from twinward.fhir.rest.service import FhirService, reference_to, resource_type_of
from twinward.fhir.search.conditional import Conditions, KeptHere
from twinward.fhir.search.representation import shown
from twinward.fhir.validation.validator import validate
from twinward.twins.errors import RecordNotFound, VersionMismatch
from twinward.twins.models import ImportRecord, PatientImport, Standing
from twinward.twins.references import DELETED
from twinward.vault.interfaces import RecordHead


@dataclass(frozen=True, slots=True)
class Transaction:
    """The walk of one transaction on behalf of one principal."""

    service: FhirService
    context: AccessContext
    base: str
    _answers: dict[int, EntryResponse] = field(default_factory=dict, init=False, repr=False)
    _given: ReadAllowance = field(default_factory=ReadAllowance, init=False, repr=False)

    def run(self, body: bytes) -> bytes:
        """Do all of it and answer with a transaction-response; its entries stand in the order of the request.

        What reads something that the transaction itself has written, or searches, is answered after the write: should
        that be refused, its entry says so.

        Raises:
            InvalidResource: not a valid transaction.
            AccessDenied, BelongsToAnother, TwinNotFound, VersionMismatch: as ``Twins.ingest``.
            VersionMismatch: also where a precondition does not hold, or what a condition found was changed meanwhile.
            RecordNotFound: it deletes or reads what is not kept.
            SeveralMatch: a condition is true of several resources.
        """
        document = outline_document(body, limits=REQUEST_LIMITS)
        if document.kind != "transaction":
            raise InvalidResource(Issue("not-supported", "Bundle.type", "post a Bundle of type transaction here"))
        if sum(part.method in ("GET", "PATCH") for part in document.parts) > MOST_READS:
            raise InvalidResource(Issue("too-costly", "Bundle.entry", f"at most {MOST_READS} entries read in a bundle"))
        if any(part.method != "GET" for part in document.parts):
            self.service.twins.require(self.context, Action.WRITE)
        check_document(document)
        patches = {
            index: patch_in(part.body or {}, f"{part.path}.resource")
            for index, part in enumerate(document.parts)
            if part.method == "PATCH"
        }
        look_again(lambda: self._look_and_write(document, patches))
        for index, part in enumerate(document.parts):
            if index not in self._answers:
                self._answers[index] = self._read_after(part)
        return response_bundle("transaction-response", [self._answers[index] for index in range(len(document.parts))])

    def _look_and_write(self, document: Document, patches: Mapping[int, tuple[Operation, ...]]) -> None:
        """Raises ``Moved`` where what a condition was true of is another version by now."""
        self._answers.clear()
        with ExitStack() as held:  # from the first condition on, nobody else's conditional write goes on
            finder = KeptHere(
                Conditions(self.service.search),
                self.context,
                self.base,
                turn=lambda: held.enter_context(self.service.twins.conditions),
            )
            document = self._with_patches_done(document, patches, finder)
            named = name_parts(document, NewNames(self.service.clock), base=self.base, finder=finder)
            self._read_before(document, named)
            self._write(document, named, finder.seen)

    def _with_patches_done(
        self, document: Document, patches: Mapping[int, tuple[Operation, ...]], finder: KeptHere
    ) -> Document:
        """The document with each PATCH as the PUT of what it comes to, should its resource still be that version."""
        parts = list(document.parts)
        for index, operations in patches.items():
            try:
                parts[index] = self._patched(parts[index], operations, finder)
            except PatchFailed as error:
                raise PatchFailed(f"{parts[index].path}: {error}", hint=error.hint) from None
        return replace(document, parts=tuple(parts))

    def _patched(self, part: Part, operations: Sequence[Operation], finder: KeptHere) -> Part:
        reference = self._patch_target(part, finder)
        present = self.service.twins.read_reference(self.context, reference)
        finder.seen[reference] = present.version
        try:  # told already now, to one who has just read that version, and not that the patch does not fit it
            require_standing(part.asked, reference, Standing(present.version, present.committed_at_ms))
        except VersionMismatch as error:
            raise VersionMismatch(f"{part.path}: {error}", hint=error.hint) from None
        content = patched(shown(present), operations, most_bytes=REQUEST_LIMITS.size_bytes)
        self._given.take(len(content))  # all of them are held until they are written together
        body = decode(content, limits=REQUEST_LIMITS)
        kind = validate(body, path=f"{part.path}.resource")
        if f"{kind}/{body.get('id')}" != reference:
            raise InvalidResource(Issue("value", f"{part.path}.resource.id", "a patch does not change it"))
        return replace(part, method="PUT", url=reference, body=body, raw=without_server_meta(content))

    def _patch_target(self, part: Part, finder: KeptHere) -> str:
        kind, _, condition = part.url.partition("?")
        if not condition:
            resource_type, _, resource_id = part.url.partition("/")
            return reference_to(resource_type, resource_id)
        found = finder.find(resource_type_of(kind), condition, {})
        if found is None:
            raise RecordNotFound(f"{part.path}: no resource is what the condition is true of")
        return found

    def _write(self, document: Document, named: NamedBundle, seen: Mapping[str, int]) -> None:
        with self.service.twins.writing:
            self._require_seen(seen)
            self._require_standing(document, named)
            imports = [*self._deletions(named.deleted), *patient_imports(named.bundle)]
            receipts = self.service.twins.ingest_together(self.context, imports)
            stored = {one.reference: one for receipt in receipts for one in receipt.stored}
            for index, entry in named.written.items():
                done = stored[entry.reference]
                noted = "same-content" if done.change == "unchanged" else ""
                self._answers[index] = self._kept(entry.reference, 201 if done.began else 200, noted)
            for index, reference in named.found.items():
                self._answers[index] = self._kept(reference, 200) if reference else EntryResponse(200)
            for index, reference in named.deleted.items():
                if index not in self._answers:
                    head = self.service.twins.search.head_of(reference)
                    self._answers[index] = EntryResponse(204, version=head.version, at_ms=head.committed_at_ms)

    def _require_seen(self, seen: Mapping[str, int]) -> None:
        versions = self.service.twins.versions
        if any(versions.standing(reference).version != version for reference, version in seen.items()):
            raise moved()

    def _require_standing(self, document: Document, named: NamedBundle) -> None:
        """Hold each entry's preconditions against what it would change; a failure is logged as told."""
        targets = {index: entry.reference for index, entry in named.written.items()} | dict(named.deleted)
        versions = self.service.twins.versions
        for index, reference in targets.items():
            part = document.parts[index]
            if part.asked.are_none:
                continue
            head = versions.newest(reference) if reference else None
            standing = versions.standing(reference) if reference else Standing()
            try:
                require_standing(part.asked, reference or part.url.partition("?")[0], standing)
            except VersionMismatch as error:
                self._note(head, "other-version" if head else "nothing-kept")
                raise VersionMismatch(f"{part.path}: {error}", hint=error.hint) from None

    def _deletions(self, deleted: Mapping[int, str]) -> Iterator[PatientImport]:
        """The versions that say that records were deleted; what is gone already is answered, and logged as such."""
        versions = self.service.twins.versions
        for index, reference in deleted.items():
            head = versions.newest(reference) if reference else None
            if not reference:
                self._note(None, "no-match")
                self._answers[index] = EntryResponse(204)
            elif head is None:
                raise RecordNotFound("no record is kept under this reference")
            elif versions.is_deleted(reference, head):
                self._note(head, "deleted-already")
                self._answers[index] = EntryResponse(204, version=head.version, at_ms=head.committed_at_ms)
            else:
                category = head.category or min(Category)
                tombstone = ImportRecord(
                    reference, reference.partition("/")[0], category, DELETED, follows=head.version
                )
                yield PatientImport(reference, (tombstone,))

    def _read_before(self, document: Document, named: NamedBundle) -> None:
        """Answer what reads nothing that is about to be written: should it fail, nothing is."""
        changed = {entry.reference for entry in named.written.values()} | set(named.deleted.values())
        reading = self._reading
        for index, part in enumerate(document.parts):
            steps = part.url.removeprefix(f"{self.base}/").removeprefix("/").partition("?")[0].split("/")
            if part.method == "GET" and len(steps) > 1 and "/".join(steps[:2]) not in changed:
                self._answers[index] = reading.get(part.url, part.asked)

    def _read_after(self, part: Part) -> EntryResponse:
        try:
            return self._reading.get(part.url, part.asked)
        except TwinwardError as error:
            return EntryResponse(error.http_status, outcome=outcome_of(error))

    @property
    def _reading(self) -> EntryReads:
        return EntryReads(self.service, self.context, self.base, given=self._given)

    def _kept(self, reference: str, status: int, noted: str = "") -> EntryResponse:
        head = self.service.twins.search.head_of(reference)
        if noted:
            self._note(head, noted)
        location = f"{reference}/_history/{head.version}"
        return EntryResponse(status, version=head.version, at_ms=head.committed_at_ms, location=location)

    def _note(self, head: RecordHead | None, answer: str) -> None:
        """Log a write that changed nothing: its answer still told what is kept."""
        self.service.twins.search.note(self.context, head, answer)
