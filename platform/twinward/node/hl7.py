"""What HL7 reaches of a node: patients by their identifiers, and their records by FHIR transactions."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from twinward.access.interfaces import NODE, AccessContext, AccessControl
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.fhir.mapping.categories import categories_of_type
from twinward.fhir.mapping.records import identifier_key
from twinward.fhir.rest.service import FhirService
from twinward.fhir.rest.transaction import Transaction
from twinward.live.hl7.desk import Entries, Hl7Desk, Hl7Source, Hospital
from twinward.live.parts import Subjects
from twinward.things.relations import Relations

if TYPE_CHECKING:
    from twinward.node.node import Node

_BASE: Final = "http://localhost/fhir"
"""What relative references are relative to: nothing outside the transaction is named by it."""
_BY_NODE: Final = AccessContext(NODE, Purpose.RECORD_MANAGEMENT)


@dataclass(frozen=True, slots=True)
class Hl7Records:
    """Patients' records, as HL7 messages change them."""

    service: FhirService
    access: AccessControl

    def file(self, context: AccessContext, entries: Entries) -> list[int]:
        """Do entries together on behalf of somebody. Raises as ``Transaction.run``."""
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answered = json.loads(Transaction(self.service, context, _BASE).run(json.dumps(bundle).encode()))
        return [int(str(one["response"]["status"])[:3]) for one in answered["entry"]]

    def amend(self, context: AccessContext, twin: TwinId, entries: Entries) -> list[int]:
        """Do entries about a twin together: decided and logged as somebody's write, done by the node. Raises so."""
        kinds = {str(one["request"]["url"]).partition("/")[0].partition("?")[0] for one in entries}
        categories = frozenset[Category]().union(*map(categories_of_type, kinds))
        self.access.decide(context.request(Action.WRITE, twin, categories, detail=(("live", "amended"),)))
        return self.file(_BY_NODE, entries)


def hl7_desk(node: Node, context: AccessContext, source: Hl7Source) -> Hl7Desk:
    """What answers one sender's messages on behalf of an account."""
    records = Hl7Records(FhirService(node.twins, node.clock), node.access)
    return Hl7Desk(node.live, hospital_of(records, node.live.subjects, node.things.relations), context, source)


def hospital_of(records: Hl7Records, subjects: Subjects, beds: Relations | None = None) -> Hospital:
    """A hospital's patients, records and beds, as HL7 reaches them; without beds none is moved."""
    made = Hospital(_patient_key, subjects, records.file, records.amend)
    return made if beds is None else replace(made, lay=beds.lay)


def _patient_key(system: str, value: str) -> str:
    return identifier_key("Patient", system, value)
