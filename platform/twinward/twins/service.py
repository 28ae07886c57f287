"""Twins: the story of each walk. Every method asks the one gate first; the vault opens nothing without its permit."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from twinward.access.interfaces import AccessControl, AccessRequest, Permit, Principal
from twinward.clock import Clock
from twinward.feature_schema import CARDIOMETABOLIC, FeatureSchema
from twinward.twins import references as names
from twinward.twins.errors import RecordDeleted, RecordNotFound, TwinNotFound
from twinward.twins.features import FeatureVector
from twinward.twins.finding import Finding
from twinward.twins.gate import categories_in, permitted, require_in_general
from twinward.twins.ingestion import Ingestion
from twinward.twins.interfaces import Progress, TwinList
from twinward.twins.models import DIRECTORY, STAY_TYPE, PatientImport, Receipt
from twinward.twins.plan import kept_categories, read_features
from twinward.twins.state import TwinStates
from twinward.twins.targets import Targets
from twinward.twins.versions import Versions
from twinward.vault.interfaces import Record, RecordVault
from twinward.vocabulary import Action, Category, Purpose, RecordId, TwinId

if TYPE_CHECKING:
    from twinward.twins.bulk import BulkImport


class Twins:
    """The hospital's twins.

    Args:
        vault: where their records are sealed.
        index: who knows which twins are kept: the vault's record store.
        access: the gate.
        clock: for new ids and for ages.
        schema: the features derived at import.
    """

    def __init__(
        self,
        vault: RecordVault,
        index: TwinList,
        access: AccessControl,
        clock: Clock,
        schema: FeatureSchema = CARDIOMETABOLIC,
    ) -> None:
        self._vault = vault
        self._index = index
        self._access = access
        self._clock = clock
        self.schema = schema
        self.ingesting = threading.Lock()
        self._ingestion = Ingestion(vault, access, clock, schema)
        self.versions = Versions(vault, access)
        self.finding = Finding(vault, access)
        self.states = TwinStates(vault, access, schema)
        self.targets = Targets(vault, access, self.states)

    def ingest(
        self, principal: Principal, source: PatientImport, *, purpose: Purpose = Purpose.RECORD_MANAGEMENT
    ) -> Receipt:
        """Take one import in, all or nothing: new records, and new versions of those that changed.

        Importing the same again writes nothing. A patient's first import makes the twin.

        Raises:
            AccessDenied: the principal may not write here.
            TwinNotFound: no twin yet, and the import does not carry the patient's own record.
            BelongsToAnother: one of its references is kept under another twin.
            VersionMismatch: one of them does not follow the version it was made to follow.
        """
        # One at a time: two first imports of one patient at once would make two twins.
        with self.ingesting:
            return self._ingestion.take(principal, source, purpose)

    def ingest_all(
        self,
        principal: Principal,
        sources: Iterable[PatientImport],
        *,
        purpose: Purpose = Purpose.RECORD_MANAGEMENT,
        progress: Progress | None = None,
    ) -> list[Receipt]:
        """Take many imports in, one after the other; what landed before an error stays."""
        receipts: list[Receipt] = []
        for source in sources:
            receipt = self.ingest(principal, source, purpose=purpose)
            receipts.append(receipt)
            if progress is not None:
                progress(receipt)
        return receipts

    def bulk_import(self, principal: Principal, *, purpose: Purpose = Purpose.RECORD_MANAGEMENT) -> BulkImport:
        """One import of very many records, straight into segments."""
        from twinward.twins.bulk import BulkImport

        return BulkImport(self, self._vault, self._access, self._clock, principal, purpose=purpose)

    def read(
        self,
        principal: Principal,
        purpose: Purpose,
        twin: TwinId,
        categories: Iterable[Category],
        *,
        justification: str = "",
        record_type: str | None = None,
    ) -> list[Record]:
        """Open a twin's records of these categories. All or none: one category that may not be read denies all."""
        wanted = frozenset(categories)
        permit = self._access.decide(
            AccessRequest(principal, Action.READ, purpose, twin, wanted, justification=justification)
        )
        records = self._vault.read_twin(permit, record_type=record_type)
        return [record for record in records if record.content != names.DELETED]

    def read_permitted(
        self, principal: Principal, purpose: Purpose, reference: str, *, justification: str = ""
    ) -> tuple[list[Record], frozenset[Category]]:
        """Open what this principal may see of the twin that keeps a reference; also say which categories were withheld.

        Raises:
            AccessDenied, RecordNotFound: as ``read_reference``.
        """
        twin, _ = self._locate(principal, purpose, reference, justification)
        request = AccessRequest(principal, Action.READ, purpose, twin, frozenset(Category), justification)
        # With nothing allowed the gate is asked for everything, so that the refusal is logged and explained.
        requests = permitted(self._access, request) or [request]
        records = [one for each in requests for one in self._vault.read_twin(self._access.decide(each))]
        kept = [record for record in records if record.content != names.DELETED]
        return kept, frozenset(Category) - categories_in(requests)

    def read_reference(
        self, principal: Principal, purpose: Purpose, reference: str, *, justification: str = ""
    ) -> Record:
        """Open the newest version of one record.

        Raises:
            AccessDenied: the principal may not read it; also for a reference that is not kept, if the principal may
                read nothing in general, so that a stranger cannot learn who is a patient here.
            RecordNotFound: it is not kept.
            RecordDeleted: its newest version is a deletion.
        """
        twin, record_id = self._locate(principal, purpose, reference, justification)
        wanted = kept_categories(self._vault, reference)
        permit = self._access.decide(
            AccessRequest(principal, Action.READ, purpose, twin, wanted, justification=justification)
        )
        record = self._vault.read(permit, record_id)
        if record.content == names.DELETED:
            raise RecordDeleted("this record was deleted", hint="its earlier versions are in its history")
        return record

    def directory(self) -> TwinId | None:
        """The twin of what belongs to no patient; None before anything is in it."""
        kept = self._vault.locate(DIRECTORY)
        return None if kept is None else kept[0]

    def require(self, principal: Principal, action: Action, purpose: Purpose) -> None:
        """Refuse, and log it, whoever may not do this to any twin: before what they send is looked at."""
        require_in_general(self._access, principal, action, purpose)

    def find(self, reference: str) -> TwinId:
        """The twin a reference is kept under. Opens nothing. Raises ``TwinNotFound``."""
        kept = self._vault.locate(reference)
        if kept is None:
            raise TwinNotFound("there is no twin of this patient", hint="import the patient first")
        return kept[0]

    def all(self) -> list[TwinId]:
        """Every patient's twin; the directory is not a patient."""
        directory = self.directory()
        return [twin for twin in self._index.twins() if twin != directory]

    def feature_vector(self, permit: Permit) -> FeatureVector | None:
        """The twin's features under a permit that covers them; None if it has none.

        Raises:
            FeaturesUnreadable: stored under another schema.
        """
        return read_features(self._vault, self.schema, permit)

    def keep_stay(
        self,
        principal: Principal,
        twin: TwinId,
        content: bytes,
        *,
        name: str = "1",
        purpose: Purpose = Purpose.RECORD_MANAGEMENT,
    ) -> Record:
        """Seal one monitored stay (``twinward.monitoring.encode_stay``); the same name again is a new version."""
        return self.keep_stays(principal, [(twin, content)], name=name, purpose=purpose)[0]

    def keep_stays(
        self,
        principal: Principal,
        stays: Sequence[tuple[TwinId, bytes]],
        *,
        name: str = "1",
        purpose: Purpose = Purpose.RECORD_MANAGEMENT,
    ) -> list[Record]:
        """Seal many stays, one per twin. Raises ``AccessDenied`` before anything is written if one is refused."""
        requests = [
            AccessRequest(principal, Action.WRITE, purpose, twin, frozenset({Category.MONITORING})) for twin, _ in stays
        ]
        for request in requests:
            if not self._access.check(request).permitted:
                self._access.decide(request)
        permits = self._access.decide_many(requests)
        written: list[Record] = []
        for permit, request, (twin, content) in zip(permits, requests, stays, strict=True):
            reference = names.stay_of(twin, name)
            kept = self._vault.locate(reference)
            record_id = None if kept is None else kept[1]
            record = Record(twin, STAY_TYPE, Category.MONITORING, content, (reference,), record_id=record_id)
            # Consent may change between the two decisions: the refusal is then raised here, by the gate itself.
            written += self._vault.write(permit or self._access.decide(request), [record])
        return written

    def read_stays(
        self, principal: Principal, twin: TwinId, *, purpose: Purpose = Purpose.TREATMENT, justification: str = ""
    ) -> list[Record]:
        """Open a twin's monitored stays."""
        wanted = {Category.MONITORING}
        return self.read(principal, purpose, twin, wanted, justification=justification, record_type=STAY_TYPE)

    def _locate(
        self, principal: Principal, purpose: Purpose, reference: str, justification: str
    ) -> tuple[TwinId, RecordId]:
        kept = self._vault.locate(reference)
        if kept is None:
            require_in_general(self._access, principal, Action.READ, purpose, justification)
            raise RecordNotFound("no record is kept under this reference")
        return kept
