"""The FHIR endpoint without HTTP: transaction, read, vread, history, everything, metadata; and where to edit."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field

from twinward import __version__
from twinward.access.interfaces import Principal
from twinward.clock import Clock
from twinward.fhir.bundle import ParsedBundle, read_bundle
from twinward.fhir.capabilities import capability_statement
from twinward.fhir.editing import Editing
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.patients import patient_imports
from twinward.fhir.render import (
    history,
    is_resource,
    reference_of,
    searchset,
    transaction_response,
    withheld_issues,
)
from twinward.fhir.resource_types import R4_TYPES
from twinward.fhir.search import Search
from twinward.fhir.strict_json import REQUEST_LIMITS
from twinward.fhir.validate import ID
from twinward.twins.errors import RecordNotFound
from twinward.twins.models import DIRECTORY, Stored
from twinward.twins.service import Twins
from twinward.vault.interfaces import Record
from twinward.vocabulary import Purpose

_VERSION_ID = re.compile(r"[1-9][0-9]{0,9}")


@dataclass(frozen=True, slots=True)
class FhirService:
    """What the routes call."""

    twins: Twins
    clock: Clock
    one_condition_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    @property
    def editing(self) -> Editing:
        """Create, update, delete."""
        return Editing(self.twins, self.clock, self.one_condition_at_a_time)

    @property
    def search(self) -> Search:
        """Search within patients and across them."""
        return Search(self.twins)

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
        reference = reference_to(resource_type, resource_id)
        return self.twins.read_reference(principal, purpose, reference, justification=justification)

    def read_version(
        self,
        principal: Principal,
        resource_type: str,
        resource_id: str,
        version_id: str,
        *,
        purpose: Purpose,
        justification: str = "",
    ) -> Record:
        """One version of one resource, byte for byte. Raises as ``Versions.read``."""
        reference = reference_to(resource_type, resource_id)
        version = int(version_id) if _VERSION_ID.fullmatch(version_id) else 0  # there is no version 0
        return self.twins.versions.read(principal, purpose, reference, version, justification=justification)

    def history(
        self,
        principal: Principal,
        resource_type: str,
        resource_id: str,
        *,
        base: str,
        purpose: Purpose,
        justification: str = "",
    ) -> bytes:
        """The versions of one resource that this principal may see, newest first. Raises as ``Versions.history``."""
        reference = reference_to(resource_type, resource_id)
        versions = self.twins.versions.history(principal, purpose, reference, justification=justification)
        return history(versions, base=base)

    def everything(
        self, principal: Principal, patient_id: str, *, base: str, purpose: Purpose, justification: str = ""
    ) -> bytes:
        """A searchset of all that this principal may see of a patient, the Patient resource first."""
        reference = reference_to("Patient", patient_id)
        records, withheld = self.twins.read_permitted(principal, purpose, reference, justification=justification)
        resources = [record for record in records if is_resource(record)]
        resources.sort(key=lambda record: reference_of(record) != reference)
        return searchset(resources, base=base, total=len(resources), issues=withheld_issues(withheld))

    def metadata(self, *, base: str) -> bytes:
        """The CapabilityStatement."""
        return capability_statement(base=base, software_version=__version__, at_ms=self.clock.now_ms())


def reference_to(resource_type: str, resource_id: str) -> str:
    """``Type/id`` of an address.

    Raises:
        RecordNotFound: no type of R4.
        InvalidResource: an id that cannot be one.
    """
    resource_type_of(resource_type)
    if not ID.fullmatch(resource_id):
        raise InvalidResource(Issue("value", "", "an id is 1 to 64 letters, digits, hyphens and dots"))
    return f"{resource_type}/{resource_id}"


def resource_type_of(name: str) -> str:
    """The name, if it is a type of R4. Raises ``RecordNotFound``."""
    # The node's own records (features, stays) have references too; only resource types are looked up from outside.
    if name not in R4_TYPES:
        raise RecordNotFound("this is not a resource type of FHIR R4")
    return name


def _in_order(bundle: ParsedBundle, stored: list[Stored]) -> list[Stored]:
    """Outcomes in the order of the bundle's entries; the node's own records (features) are not FHIR's business."""
    by_reference = {one.reference: one for one in stored}
    return [by_reference[entry.reference] for entry in bundle.entries]
