"""The features of the twins that a bulk import touched, derived once, when all of it was read."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from twinward.access.interfaces import AccessControl, AccessRequest, Principal
from twinward.clock import Clock
from twinward.feature_schema import FeatureSchema
from twinward.twins import references as names
from twinward.twins.bulk_records import BulkRecord, Reading
from twinward.twins.errors import FeaturesUnreadable
from twinward.twins.features import FeatureVector, extract, merge
from twinward.twins.gate import decided
from twinward.twins.measurements import EQUIVALENT_CODES, Measurement, Person
from twinward.twins.models import DIRECTORY
from twinward.twins.plan import features_record
from twinward.twins.service import Twins
from twinward.vault.interfaces import Kept, RecordVault
from twinward.vocabulary import Action, Category, Purpose, TwinId

_TWINS_AT_ONCE = 256
"""Twins decided together: permits are used before they expire."""

_FEATURES = frozenset({Category.FEATURES})


class BulkFeatures:
    """The features of one import's twins. Arguments as of ``BulkImport``."""

    def __init__(
        self,
        twins: Twins,
        vault: RecordVault,
        access: AccessControl,
        clock: Clock,
        principal: Principal,
        purpose: Purpose,
    ) -> None:
        self._twins = twins
        self._vault = vault
        self._access = access
        self._clock = clock
        self._principal = principal
        self._purpose = purpose
        self._evidence = _Evidence(twins.schema)
        self._changed: set[str] = set()

    @property
    def codes(self) -> frozenset[str]:
        """The LOINC codes of readings that some feature is made of."""
        return self._evidence.codes

    def add(self, record: BulkRecord) -> None:
        """Remember what a record says."""
        self._evidence.add(record)

    def touch(self, owner: str) -> None:
        """Note that something new was said about an owner."""
        self._changed.add(owner)

    def derive(self) -> int:
        """Write the features of every twin about which something new was said; return how many there were."""
        owners = sorted(self._changed | self._missing())
        for start in range(0, len(owners), _TWINS_AT_ONCE):
            self._derive(owners[start : start + _TWINS_AT_ONCE])
        return len(owners)

    def _missing(self) -> set[str]:
        """Owners whose twin has no features under the present schema, though something is known for them."""
        owners = self._evidence.owners() - self._changed
        twins = {owner: twin for owner, (twin, _) in self._vault.locate_many(sorted(owners)).items()}
        under = {names.features_under(twin, self._twins.schema.fingerprint()): owner for owner, twin in twins.items()}
        found = self._vault.locate_many(list(under))
        return {owner for name, owner in under.items() if name not in found}

    def _derive(self, owners: Sequence[str]) -> None:
        twins = {owner: twin for owner, (twin, _) in self._vault.locate_many(owners).items() if owner != DIRECTORY}
        today = datetime.fromtimestamp(self._clock.now_ms() / 1000, tz=UTC).date()
        vectors: dict[TwinId, FeatureVector] = {}
        whole: set[TwinId] = set()
        for owner, twin in twins.items():
            person, measurements = self._evidence.of(owner)
            vector = extract(self._twins.schema, person, measurements, today)
            if vector.readings:  # all defaults would look like the average patient to every query
                vectors[twin] = vector
                whole |= {twin} if person != Person() else set()
        kept = self._vault.kept([names.features_of(twin) for twin in vectors])
        known = [twin for twin in vectors if names.features_of(twin) in kept]
        older = self._older(known)
        for twin in known:
            if twin in older:
                vectors[twin] = merge(self._twins.schema, older[twin], vectors[twin])
            elif twin not in whole:
                del vectors[twin]  # a part of the record must not displace what was derived from all of it
        self._keep(vectors, kept)

    def _older(self, twins: Sequence[TwinId]) -> dict[TwinId, FeatureVector]:
        """The features kept so far, where they may be read and are of this schema; decided in one durable step."""
        requests = [AccessRequest(self._principal, Action.READ, self._purpose, twin, _FEATURES) for twin in twins]
        requests = [request for request in requests if self._access.check(request).permitted]
        found: dict[TwinId, FeatureVector] = {}
        for permit in self._access.decide_many(requests):
            if permit is not None and permit.request.twin is not None:
                with contextlib.suppress(FeaturesUnreadable):
                    vector = self._twins.feature_vector(permit)
                    if vector is not None:
                        found[permit.request.twin] = vector
        return found

    def _keep(self, vectors: Mapping[TwinId, FeatureVector], kept: Mapping[str, Kept]) -> None:
        """Write feature vectors that differ from what is kept, all in one durable step."""
        existing = {twin: one.record_id for twin in vectors if (one := kept.get(names.features_of(twin))) is not None}
        records = {twin: features_record(twin, vector, existing.get(twin)) for twin, vector in vectors.items()}
        marks = {record.references[0]: record.mark or "" for record in records.values()}
        same = {name for name, one in self._vault.kept(marks.keys(), marks.__getitem__).items() if one.marked}
        records = {twin: record for twin, record in records.items() if record.references[0] not in same}
        requests = [AccessRequest(self._principal, Action.WRITE, self._purpose, twin, _FEATURES) for twin in records]
        permits = decided(self._access, requests)
        self._vault.write_many([(permit, [record]) for permit, record in zip(permits, records.values(), strict=True)])


class _Evidence:
    """What features are made of, patient by patient: the latest reading of each code in each unit."""

    def __init__(self, schema: FeatureSchema) -> None:
        wanted = {code for feature in schema.features for code in feature.loinc}
        self.codes = frozenset(wanted | {code for code, same in EQUIVALENT_CODES.items() if same in wanted})
        self._readings: dict[str, dict[tuple[str, str, str], Reading]] = defaultdict(dict)
        self._persons: dict[str, Person] = {}

    def add(self, record: BulkRecord) -> None:
        """Remember what a record says."""
        if record.person is not None:
            self._persons[record.owner] = record.person
        for reading in record.readings:
            if reading.code in self.codes:
                when = reading.when
                # Times written alike compare as text; those of another zone or precision are kept beside them.
                zone = when[19:] if isinstance(when, str) else ""
                kept, key = self._readings[record.owner], (reading.code, reading.unit, zone + type(when).__name__)
                if key not in kept or str(kept[key].when) < str(when):  # of equals the first, as in extract
                    kept[key] = reading

    def owners(self) -> set[str]:
        """Of whom anything is known."""
        return self._readings.keys() | self._persons.keys()

    def of(self, owner: str) -> tuple[Person, tuple[Measurement, ...]]:
        """A patient's, as ``extract`` takes them."""
        found = []
        for reading in self._readings.get(owner, {}).values():
            at_ms = reading.when if isinstance(reading.when, int) else _to_ms(reading.when)
            if at_ms is not None:
                found.append(Measurement(reading.code, reading.value, reading.unit, at_ms))
        return self._persons.get(owner, Person()), tuple(found)


def _to_ms(text: str) -> int | None:
    """A full ISO 8601 moment in ms since the epoch; None for what is none. Without a zone it counts as UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
