"""What is known of a twin's features, and what stands of it on a day. Pure: the vault's records come and go as bytes.

**Evidence** is every reading with the record that said it, and what its person is, stored as one JSON record of
category ``features``. A record's readings leave with it: when it is corrected, deleted or entered in error, what it
said is taken out by its name, and what other records said stands again. Nothing else has to be opened for that.

**A vector** is what stands of the evidence on a day, and the levels that encrypted search works on. It is derived each
time it is asked for, never stored: an age grows, and a reading dated later comes due.

**Which reading stands.** The latest by the moment it was measured; of one moment the more final (corrected before
final before preliminary), then the one told later, then the earlier code of the schema. The order is total, so what
stands does not depend on the order in which records came in.

**Bounds.** Of each feature the best ``MOST_KEPT`` readings are kept, and ``MOST_AWAITED`` dated later than the day they
came in. ``cut`` is the best of those that were left out: nothing below it is taken any more, so should all that is kept
be withdrawn, the feature is missing until the patient is imported again. It is never another reading than the best.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import msgspec

from twinward.core.errors import BadInput
from twinward.features import units
from twinward.features.codes import Recorded
from twinward.features.facets import levels_of
from twinward.features.schema import Feature, FeatureSchema, canonical_code

AGE = "age"
SEX_FEMALE = "sex_female"
MOST_KEPT = 32
MOST_AWAITED = 8
_MAX_CONTENT_BYTES = 256 * 1024


class FeaturesUnreadable(BadInput):
    """A stored feature vector that is malformed or was made under another feature schema."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number measured on a patient: LOINC code, value, UCUM unit, when (ms since the epoch).

    Attributes:
        source: the name of the record that says so, e.g. ``Observation/8b1f``.
        finality: of two readings of one moment the more final counts: 0 preliminary, 1 final, 2 corrected.
        told_ms: when it was made available; 0 where that is not known.
    """

    code: str
    value: float
    unit: str
    at_ms: int
    source: str = ""
    finality: int = 1
    told_ms: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """What features need to know of a person; None where it is not known."""

    birth_date: date | None = None
    female: bool | None = None
    died: date | None = None
    is_dead: bool = False
    site: str = ""
    """What the patient's own organisation is called: a reference or an identifier."""


class Claim(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What one record says of one feature.

    Attributes:
        value: in the schema's unit.
        at_ms: when it was measured, in ms since the epoch.
        finality: as of ``Measurement``.
        told_ms: when it was made available; 0 where that is not known.
        place: of its LOINC code among the feature's; 0 is preferred.
        source: the record's name.
    """

    value: float
    at_ms: int
    finality: int
    told_ms: int
    place: int
    source: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Claims by feature, best first. ``person`` is None where nothing was said of it.

    Attributes:
        code_list: the code list that ``coded`` is about; empty where it is not known which coded features there are.
        coded: claims by coded feature; a claim's value is a ``Recorded``. One that is missing was never recorded.
    """

    schema: str
    claims: Mapping[str, tuple[Claim, ...]] = field(repr=False)
    person: Person | None = field(default=None, repr=False)
    cut: Mapping[str, Claim] = field(default_factory=dict, repr=False)
    code_list: str = ""
    coded: Mapping[str, tuple[Claim, ...]] = field(default_factory=dict, repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return not self.claims and not self.coded and self.person in (None, Person())


class _Content(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    schema: str
    claims: dict[str, tuple[Claim, ...]]
    cut: dict[str, Claim]
    person: Person | None
    code_list: str = ""
    coded: dict[str, tuple[Claim, ...]] = {}


def convert(measurement: Measurement, unit: str, substance: str = "") -> float | None:
    """The value in ``unit`` (UCUM), or None if it cannot be had without guessing: see ``units.convert``.

    A unit that lacks "per 1.73 m2" is completed where the LOINC code, by which the substance is known, says it.
    """
    if not math.isfinite(measurement.value):
        return None
    given = measurement.unit
    by_code = units.SUBSTANCES.get(substance, units.Substance()).per_body_surface
    if by_code and given.strip() and not units.understood(given).per_body_surface:
        given = f"{given.strip()}/{{1.73_m2}}"
    try:
        return units.convert(measurement.value, given, unit, substance=substance)
    except BadInput:
        return None


def evidence_of(
    schema: FeatureSchema, person: Person | None, measurements: Iterable[Measurement], until_ms: int
) -> Evidence:
    """What measurements and a person say about the features of a schema.

    Args:
        schema: which features there are.
        person: None where nothing is said of it.
        measurements: numbers no feature is made of are passed over, as are those in units that say nothing here.
        until_ms: the end of the day on which it is said; what is dated later is awaited.
    """
    wanted: dict[str, list[tuple[Feature, int]]] = {}
    for feature in schema.features:
        for place, code in enumerate(feature.loinc):
            wanted.setdefault(code, []).append((feature, place))
    claims: dict[str, set[Claim]] = {}
    coded: dict[str, set[Claim]] = {}
    about: dict[str, tuple[Sequence[str], Sequence[tuple[Feature, int]]]] = {}
    for one in measurements:
        found = about.get(one.code)
        if found is None:  # a patient has many numbers of few codes
            found = about[one.code] = schema.codes.telling(one.code), wanted.get(canonical_code(one.code), ())
        for name in found[0]:
            coded.setdefault(name, set()).add(Claim(one.value, one.at_ms, one.finality, one.told_ms, 0, one.source))
        for feature, place in found[1]:
            value = convert(one, feature.unit, feature.substance)
            if value is not None and math.isfinite(value):
                claim = Claim(float(value), one.at_ms, one.finality, one.told_ms, place, one.source)
                claims.setdefault(feature.name, set()).add(claim)
    numbers = {name: tuple(some) for name, some in claims.items()}
    known = _best_coded({name: tuple(some) for name, some in coded.items()})
    evidence = Evidence(schema.fingerprint(), numbers, person, code_list=schema.codes.fingerprint, coded=known)
    return _bounded(evidence, until_ms)


def joined(older: Evidence, newer: Evidence, until_ms: int, *, whole: bool = False) -> Evidence:
    """What both say; of the person what the newer says, if it says anything. Joining the same again changes nothing.

    Coded features are of the newer's code list: where the older one knew another, or none, they are known from now on
    if the newer one is the ``whole`` of a patient's record, and unknown otherwise.
    """
    said = {name: older.claims.get(name, ()) + some for name, some in newer.claims.items()}
    person = older.person if newer.person is None else newer.person
    cut = dict(older.cut)
    for name, claim in newer.cut.items():
        cut[name] = max(claim, cut.get(name, claim), key=_order)
    fresh = _bounded(Evidence(older.schema, said, person, cut), until_ms)
    untouched = {name: some for name, some in older.claims.items() if name not in said}
    code_list, coded = _joined_codes(older, newer, whole=whole)
    return replace(fresh, claims={**untouched, **fresh.claims}, code_list=code_list, coded=coded)


def _joined_codes(older: Evidence, newer: Evidence, *, whole: bool) -> tuple[str, Mapping[str, tuple[Claim, ...]]]:
    if older.code_list != newer.code_list:
        return (newer.code_list, newer.coded) if whole else ("", {})
    both = {name: older.coded.get(name, ()) + newer.coded.get(name, ()) for name in {*older.coded, *newer.coded}}
    return newer.code_list, _best_coded(both)


def _best_coded(some: Mapping[str, tuple[Claim, ...]]) -> dict[str, tuple[Claim, ...]]:
    return {name: tuple(sorted(set(claims), key=_order, reverse=True)[:MOST_KEPT]) for name, claims in some.items()}


def without(evidence: Evidence, sources: Collection[str]) -> Evidence:
    """What is left when some records no longer say anything."""
    return replace(evidence, claims=_left(evidence.claims, sources), coded=_left(evidence.coded, sources))


def _left(claims: Mapping[str, tuple[Claim, ...]], sources: Collection[str]) -> dict[str, tuple[Claim, ...]]:
    left = {name: tuple(one for one in some if one.source not in sources) for name, some in claims.items()}
    return {name: some for name, some in left.items() if some}


@dataclass(frozen=True, slots=True)
class News:
    """What an import says about one twin's features, whether it came alone or with many.

    Attributes:
        evidence: what it says.
        until_ms: the end of the day on which it is said.
        is_kept: there are features of the twin already.
        whole: the patient's own record is in it: it may stand in for what was kept.
        retold: names of records that say something else now, or nothing any more.
    """

    evidence: Evidence
    until_ms: int
    is_kept: bool
    whole: bool
    retold: frozenset[str] = frozenset()

    def joined_to(self, older: Evidence | None) -> Evidence | None:
        """What is known from now on; None where what is kept stays as it is.

        Args:
            older: what is kept, if it can be read.
        """
        if older is not None:
            return joined(without(older, self.retold), self.evidence, self.until_ms, whole=self.whole)
        if self.is_kept and not self.whole and not self.retold:
            return None  # a part of the record must not displace what was derived from all of it
        if not self.is_kept and self.evidence.is_empty:
            return None  # all defaults: such a twin would look like the average patient to every query
        # Where what is kept cannot be opened, and a record in it was taken back, none of it may go on standing.
        return self.evidence


def to_content(evidence: Evidence) -> bytes:
    """The bytes of a feature record. Equal evidence gives equal bytes."""
    claims = {name: evidence.claims[name] for name in sorted(evidence.claims)}
    cut = {name: evidence.cut[name] for name in sorted(evidence.cut)}
    coded = {name: evidence.coded[name] for name in sorted(evidence.coded)}
    return msgspec.json.encode(_Content(evidence.schema, claims, cut, evidence.person, evidence.code_list, coded))


def from_content(schema: FeatureSchema, content: bytes) -> Evidence:
    """A stored feature record.

    Raises:
        FeaturesUnreadable: malformed, or made under another schema (then it must be derived anew).
    """
    again = "import the patient again"
    if len(content) > _MAX_CONTENT_BYTES:
        raise FeaturesUnreadable("a stored feature vector is implausibly large")
    try:
        stored = msgspec.json.decode(content, type=_Content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise FeaturesUnreadable("a stored feature vector is malformed", hint=again) from error
    if stored.schema != schema.fingerprint():
        hint = "import the patient again: its features are then derived under the present schema"
        raise FeaturesUnreadable("this feature vector was made under another feature schema", hint=hint)
    if not stored.claims.keys() <= {feature.name for feature in schema.features}:
        raise FeaturesUnreadable("a stored feature vector names what its schema does not")
    every = [*stored.claims.values(), *stored.coded.values()]
    if any(list(some) != sorted(set(some), key=_order, reverse=True) for some in every):
        raise FeaturesUnreadable("a stored feature vector contradicts itself", hint=again)
    if stored.code_list != schema.codes.fingerprint:  # numbers stand; which codes were ever recorded is not known
        return Evidence(stored.schema, stored.claims, stored.person, stored.cut)
    return Evidence(stored.schema, stored.claims, stored.person, stored.cut, stored.code_list, stored.coded)


def _order(claim: Claim) -> tuple[int, int, int, int, str, float]:
    return claim.at_ms, claim.finality, claim.told_ms, -claim.place, claim.source, claim.value


def _bounded(evidence: Evidence, until_ms: int) -> Evidence:
    claims: dict[str, tuple[Claim, ...]] = {}
    cut = dict(evidence.cut)
    for name, some in evidence.claims.items():
        ordered = sorted(set(some), key=_order, reverse=True)
        awaited = [one for one in ordered if one.at_ms > until_ms][-MOST_AWAITED:]
        floor = _order(cut[name]) if name in cut else None
        due = [one for one in ordered if one.at_ms <= until_ms and (floor is None or _order(one) > floor)]
        if len(due) > MOST_KEPT:
            cut[name] = due[MOST_KEPT]
        if awaited or due:
            claims[name] = (*awaited, *due[:MOST_KEPT])
    return replace(evidence, claims=claims, cut=cut)


@dataclass(frozen=True, slots=True)
class Reading:
    """One feature's value in the schema's unit, and when it was measured: for an age the day it is of, 0 for a sex."""

    value: float = field(repr=False)
    at_ms: int


@dataclass(frozen=True, slots=True)
class FeatureVector:
    """Readings by feature name, and their levels in schema order. ``missing`` features took their default.

    ``recorded`` is what is known of each coded feature, in the order of the schema's code list; ``facets`` are levels
    of the schema's facets.
    """

    schema: str
    levels: tuple[int, ...] = field(repr=False)
    readings: Mapping[str, Reading] = field(repr=False)
    missing: tuple[str, ...]
    recorded: tuple[Recorded, ...] = field(default=(), repr=False)
    facets: tuple[int, ...] = field(default=(), repr=False)

    def eligibility(self, schema: FeatureSchema) -> tuple[int, ...]:
        """Levels that criteria are held against: as ``levels``, but ``schema.levels`` where missing; then the codes."""
        absent = set(self.missing)
        numbers = (
            schema.levels if feature.name in absent else level
            for feature, level in zip(schema.features, self.levels, strict=True)
        )
        return (*numbers, *(int(one) for one in self.recorded))


def day_of(at_ms: int) -> date:
    """The day of a moment, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).date()


def end_of(day: date) -> int:
    """The last ms of a day in UTC, since the epoch."""
    return _start_of(day) + int(timedelta(days=1).total_seconds()) * 1000 - 1


def derive(schema: FeatureSchema, evidence: Evidence, on: date) -> FeatureVector:
    """The features of one patient as they stand on a day: readings dated after it do not count yet.

    Age is in completed years on that day, of the dead on the day they died; it is missing where that day is not known.
    """
    until_ms = end_of(on)
    person = evidence.person or Person()
    readings = _of_person({feature.name for feature in schema.features}, person, on)
    newest_ms = 0
    for name, claims in evidence.claims.items():
        best = next((claim for claim in claims if claim.at_ms <= until_ms), None)
        if best is not None:
            readings[name] = Reading(best.value, best.at_ms)
            newest_ms = max(newest_ms, best.at_ms)
    levels = schema.quantise({name: reading.value for name, reading in readings.items()})
    missing = tuple(feature.name for feature in schema.features if feature.name not in readings)
    recorded = _recorded(schema, evidence, until_ms)
    facets = tuple(levels_of(schema.facets, schema.sites, person.site, newest_ms))
    return FeatureVector(schema.fingerprint(), tuple(levels), readings, missing, recorded, facets)


def _recorded(schema: FeatureSchema, evidence: Evidence, until_ms: int) -> tuple[Recorded, ...]:
    if evidence.code_list != schema.codes.fingerprint:
        return (Recorded.UNKNOWN,) * len(schema.codes)
    return tuple(
        max(
            (Recorded(int(one.value)) for one in evidence.coded.get(feature.name, ()) if one.at_ms <= until_ms),
            default=Recorded.NEVER,
        )
        for feature in schema.codes.features
    )


def _of_person(names: set[str], person: Person, on: date) -> dict[str, Reading]:
    readings: dict[str, Reading] = {}
    day = on if person.died is None else min(on, person.died)
    is_dated = not person.is_dead or person.died is not None
    if AGE in names and person.birth_date is not None and person.birth_date <= day and is_dated:
        born = person.birth_date
        years = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
        readings[AGE] = Reading(float(years), _start_of(day))
    if SEX_FEMALE in names and person.female is not None:
        readings[SEX_FEMALE] = Reading(float(person.female), 0)
    return readings


def _start_of(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
