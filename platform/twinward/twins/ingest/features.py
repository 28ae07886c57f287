"""The records that keep what twins' features are derived from: how they are read, and what an import puts into them.

One derivation for every way in (``features.derivation.News``). A single import writes it along with the rest; of a bulk
import it is written once for each twin that was touched, when all of it was read.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from twinward.access.interfaces import NODE, AccessContext, AccessControl, AccessRequest, Permit
from twinward.core.clock import Clock
from twinward.core.turns import Turn
from twinward.core.vocabulary import Action, Category, Purpose, RecordId, TwinId
from twinward.features.derivation import (
    Evidence,
    FeaturesUnreadable,
    Measurement,
    News,
    Person,
    day_of,
    end_of,
    evidence_of,
    from_content,
    to_content,
)
from twinward.features.schema import EQUIVALENT_CODES, FeatureSchema
from twinward.twins import references as names
from twinward.twins.ingest.plan import Plan
from twinward.twins.models import DIRECTORY, FEATURES_TYPE, BulkRecord
from twinward.vault.interfaces import Place, Record, RecordVault

_TWINS_AT_ONCE = 256
"""Twins decided together: permits are used before they expire."""

_MOST_REMEMBERED = 1_000_000
"""Readings, some 250 bytes each."""

_FEATURES = frozenset({Category.FEATURES})


@dataclass(frozen=True, slots=True)
class FeatureNews:
    """``News`` of a twin's features, and the record that keeps them.

    Attributes:
        news: what is said.
        existing: the record of the features kept so far, if there is one.
        joins_older: that record is readable under the present schema, so the news joins what it says.
    """

    news: News
    existing: RecordId | None
    joins_older: bool

    def into(self, plan: Plan, older: Evidence | None) -> Evidence | None:
        """Put what is known of the features now into the plan; None where that stays as it was."""
        evidence = self.news.joined_to(older)
        if evidence is None:
            return None
        return evidence if plan.add_features(features_record(plan.twin, evidence, self.existing)) else None


def read_evidence(vault: RecordVault, schema: FeatureSchema, permit: Permit) -> Evidence | None:
    """What is kept of the features of the permit's twin; None if nothing is.

    Raises:
        FeaturesUnreadable: stored under another schema.
    """
    records = vault.read_twin(permit, record_type=FEATURES_TYPE)
    return from_content(schema, records[0].content) if records else None


def features_record(twin: TwinId, evidence: Evidence, existing: RecordId | None) -> Record:
    """A twin's features as the record that keeps them, found under the twin and under their schema."""
    reference, content = names.features_of(twin), to_content(evidence)
    coded = (names.codes_under(twin, evidence.code_list),) if evidence.code_list else ()
    references = (reference, names.features_under(twin, evidence.schema), *coded)
    fingerprint = names.as_content(reference, Category.FEATURES, content)
    return Record(
        twin,
        FEATURES_TYPE,
        Category.FEATURES,
        content,
        references,
        record_id=existing,
        fingerprint=fingerprint,
        alone=True,
    )


class BulkFeatures:
    """The features of one bulk import's twins.

    Args:
        schema: which features there are.
        writing: the turn of whoever changes twins.
        vault, access, clock, context: as of ``BulkImport``.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        writing: Turn,
        vault: RecordVault,
        access: AccessControl,
        clock: Clock,
        context: AccessContext,
    ) -> None:
        self._schema = schema
        self._writing = writing
        self._vault = vault
        self._access = access
        self._clock = clock
        self._context = context
        self._said = _Said(schema)
        self._changed: set[str] = set()
        self._derived: set[str] = set()

    @property
    def codes(self) -> frozenset[str]:
        """The LOINC codes of readings that some feature is made of."""
        return self._said.codes

    def add(self, record: BulkRecord) -> None:
        """Remember what a record says that is kept like this, until it is derived from."""
        self._said.add(record)

    def forget(self, record: BulkRecord) -> None:
        """Forget what was said under a record's name: something else was written, and derived from, since."""
        self._said.forget(record)

    def touch(self, owner: str) -> None:
        """Note that something new was said about an owner."""
        self._changed.add(owner)

    def relieve(self) -> None:
        """Derive from what was said so far, if that is much to remember: joined piece by piece it comes to the same."""
        if self._said.count > _MOST_REMEMBERED:
            self.derive()

    def derive(self) -> int:
        """Write the features of every twin about which something new was said; return how many there were."""
        owners = sorted(self._changed | self._missing())
        for start in range(0, len(owners), _TWINS_AT_ONCE):
            with self._writing:  # what is kept is joined with what is new: nobody else's news may fall between
                self._derive(owners[start : start + _TWINS_AT_ONCE])
        self._derived.update(owners)
        self._changed.clear()
        self._said.clear()
        return len(self._derived)

    def _missing(self) -> set[str]:
        """Owners whose twin has no features under the present schema, though something is known for them."""
        owners = self._said.owners() - self._changed
        twins = self._vault.twins_of(sorted(owners))
        under = {names.features_under(twin, self._schema.fingerprint()): owner for owner, twin in twins.items()}
        if self._schema.codes.features:
            under |= {names.codes_under(twin, self._schema.codes.fingerprint): owner for owner, twin in twins.items()}
        found = self._vault.twins_of(list(under))
        return {owner for name, owner in under.items() if name not in found}

    def _derive(self, owners: Sequence[str]) -> None:
        twins = {owner: twin for owner, twin in self._vault.twins_of(owners).items() if owner != DIRECTORY}
        until_ms = end_of(day_of(self._clock.now_ms()))
        told: dict[TwinId, tuple[Person | None, Evidence]] = {}
        for owner, twin in twins.items():
            person, readings = self._said.of(owner)
            evidence = evidence_of(self._schema, person, readings, until_ms)
            if not evidence.is_empty:
                told[twin] = person, evidence
        self._vault.fetch_keys(told)
        kept = self._vault.locate_many([names.features_of(twin) for twin in told])
        older = self._older([twin for twin in told if names.features_of(twin) in kept])
        known: dict[TwinId, Evidence] = {}
        for twin, (person, evidence) in told.items():
            news = News(evidence, until_ms, names.features_of(twin) in kept, person is not None)
            standing = news.joined_to(older.get(twin))
            if standing is not None:
                known[twin] = standing
        self._keep(known, kept)

    def _older(self, twins: Sequence[TwinId]) -> dict[TwinId, Evidence]:
        """The features kept so far, where they may be read and are of this schema; decided in one durable step."""
        reason = Purpose.RECORD_MANAGEMENT  # the node's own: whoever imports does not get to see them
        requests = [AccessRequest(NODE, Action.READ, reason, twin, _FEATURES) for twin in twins]
        found: dict[TwinId, Evidence] = {}
        for permit in self._access.decide_permitted(requests):
            if permit.request.twin is not None:
                with contextlib.suppress(FeaturesUnreadable):
                    evidence = read_evidence(self._vault, self._schema, permit)
                    if evidence is not None:
                        found[permit.request.twin] = evidence
        return found

    def _keep(self, known: Mapping[TwinId, Evidence], kept: Mapping[str, Place]) -> None:
        """Write features that differ from what is kept, all in one durable step."""
        existing = {twin: one.record_id for twin in known if (one := kept.get(names.features_of(twin))) is not None}
        records = {twin: features_record(twin, evidence, existing.get(twin)) for twin, evidence in known.items()}
        fingerprints = {record.references[0]: record.fingerprint or "" for record in records.values()}
        same = {
            name
            for name, one in self._vault.locate_many(fingerprints.keys(), fingerprints.__getitem__).items()
            if one.matches
        }
        records = {twin: record for twin, record in records.items() if record.references[0] not in same}
        requests = [self._context.request(Action.WRITE, twin, _FEATURES) for twin in records]
        permits = self._access.decide_all(requests)
        self._vault.write_many([(permit, [record]) for permit, record in zip(permits, records.values(), strict=True)])


class _Said:
    """What an import says that features are made of: owner by owner, record by record."""

    def __init__(self, schema: FeatureSchema) -> None:
        wanted = {code for feature in schema.features for code in feature.loinc}
        self._telling = schema.codes.telling
        self.codes = frozenset(wanted | {code for code, same in EQUIVALENT_CODES.items() if same in wanted})
        self.count = 0
        self._readings: dict[str, dict[str, tuple[Measurement, ...]]] = defaultdict(dict)
        self._persons: dict[str, Person] = {}

    def add(self, record: BulkRecord) -> None:
        """Remember what a record says."""
        if record.person is not None:
            self._persons[record.owner] = record.person
        if record.readings:
            codes, telling = self.codes, self._telling
            readings = tuple([one for one in record.readings if one.code in codes or telling(one.code)])
            if readings:
                self._readings[record.owner][record.reference] = readings
                self.count += len(readings)

    def forget(self, record: BulkRecord) -> None:
        """What was said under a record's name does not stand any more."""
        if record.person is not None:
            self._persons.pop(record.owner, None)
        self._readings.get(record.owner, {}).pop(record.reference, None)

    def clear(self) -> None:
        """Forget everything."""
        self.count = 0
        self._readings.clear()
        self._persons.clear()

    def owners(self) -> set[str]:
        """Of whom anything is known."""
        return self._readings.keys() | self._persons.keys()

    def of(self, owner: str) -> tuple[Person | None, Iterator[Measurement]]:
        """A patient's, as ``evidence_of`` takes them."""
        readings = self._readings.get(owner, {}).values()
        return self._persons.get(owner), (one for some in readings for one in some)
