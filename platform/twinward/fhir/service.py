"""The FHIR endpoint's four walks, without HTTP: transaction, read, everything, metadata."""

from __future__ import annotations

from dataclasses import dataclass

from twinward import __version__
from twinward.access.interfaces import Principal
from twinward.clock import Clock
from twinward.fhir.bundle import ParsedBundle, read_bundle
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.patients import patient_imports
from twinward.fhir.render import capability_statement, is_resource, reference_of, searchset, transaction_response
from twinward.fhir.resource_types import R4_TYPES
from twinward.fhir.strict_json import REQUEST_LIMITS
from twinward.fhir.validate import ID
from twinward.twins.errors import RecordNotFound
from twinward.twins.models import DIRECTORY, Stored
from twinward.twins.service import Twins
from twinward.vault.interfaces import Record
from twinward.vocabulary import Purpose


@dataclass(frozen=True, slots=True)
class FhirService:
    """What the routes call."""

    twins: Twins
    clock: Clock

    def transaction(self, principal: Principal, body: bytes, *, purpose: Purpose) -> bytes:
        """Take a transaction Bundle in and answer with a transaction-response.

        What concerns the patient is written all or nothing. What it shares with others (organisations,
        practitioners …) is created first if absent, and stays even if the patient's part is refused.

        Raises:
            InvalidResource: not a valid transaction, or one about more than one patient.
            AccessDenied, BelongsToAnother, TwinNotFound: as ``Twins.ingest``.
        """
        bundle = read_bundle(body, limits=REQUEST_LIMITS, depth="full")
        if bundle.kind != "transaction":
            issue = Issue("not-supported", "Bundle.type", "post a Bundle of type transaction here")
            raise InvalidResource(issue)
        imports = patient_imports(bundle)
        if sum(one.reference != DIRECTORY for one in imports) > 1:
            issue = Issue("not-supported", "Bundle.entry", "a transaction concerns one patient here")
            raise InvalidResource(issue, hint="send one transaction per patient")
        stored = [one for source in imports for one in self.twins.ingest(principal, source, purpose=purpose).stored]
        return transaction_response(_in_order(bundle, stored), at_ms=self.clock.now_ms())

    def read(
        self, principal: Principal, resource_type: str, resource_id: str, *, purpose: Purpose, justification: str = ""
    ) -> Record:
        """The newest version of one resource, byte for byte.

        Raises:
            InvalidResource: an id that cannot be one.
            RecordNotFound: not kept, or no type of R4.
            AccessDenied: as ``Twins.read_reference``.
        """
        reference = _reference(resource_type, resource_id)
        return self.twins.read_reference(principal, purpose, reference, justification=justification)

    def everything(
        self, principal: Principal, patient_id: str, *, base: str, purpose: Purpose, justification: str = ""
    ) -> bytes:
        """A searchset of all that this principal may see of a patient, the Patient resource first."""
        reference = _reference("Patient", patient_id)
        records, withheld = self.twins.read_permitted(principal, purpose, reference, justification=justification)
        resources = [record for record in records if is_resource(record)]
        resources.sort(key=lambda record: reference_of(record) != reference)
        return searchset(resources, base=base, withheld=withheld)

    def metadata(self, *, base: str) -> bytes:
        """The CapabilityStatement."""
        return capability_statement(base=base, software_version=__version__, at_ms=self.clock.now_ms())


def _reference(resource_type: str, resource_id: str) -> str:
    # The node's own records (features, stays) have references too; only resource types are looked up from outside.
    if resource_type not in R4_TYPES:
        raise RecordNotFound("this is not a resource type of FHIR R4")
    if not ID.fullmatch(resource_id):
        raise InvalidResource(Issue("value", "", "an id is 1 to 64 letters, digits, hyphens and dots"))
    return f"{resource_type}/{resource_id}"


def _in_order(bundle: ParsedBundle, stored: list[Stored]) -> list[Stored]:
    """Outcomes in the order of the bundle's entries; the node's own records (features) are not FHIR's business."""
    by_reference = {one.reference: one for one in stored}
    return [by_reference[entry.reference] for entry in bundle.entries]
