"""What a twin is made of, in words that no source format owns."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from twinward.core.vocabulary import Category, TwinId
from twinward.features.derivation import FeatureVector, Measurement, Person

DIRECTORY = "Directory/hospital"
"""The reference of the directory twin: it holds what belongs to no patient (organisations, practitioners, places), so
that erasing a patient takes nothing from the others. It has no features and enters no cohort."""

FEATURES_TYPE = "FeatureVector"
"""Record type of a twin's feature vector; its category is ``features``."""

PERSON_TYPE = "Patient"
"""Record type of a patient's own record."""

CONDITION_TYPE = "Condition"
MEASURING_TYPE = "Observation"
"""Record type of what numeric features are measured by."""

TELLING_TYPES = frozenset({MEASURING_TYPE, CONDITION_TYPE, "MedicationRequest", "Procedure"})
"""Record types that features, numeric and coded, are derived from."""

NOTHING_KEPT = (("answered", "nothing-kept"),)
"""What the event says of a caller who is told that nothing is kept under a reference: that tells something, too."""

STAY_TYPE = "Stay"
"""Record type of a monitored stay (``twinward.features.monitored_stays``); its category is ``monitoring``."""


class IfKept(StrEnum):
    """What becomes of a record of an import if one is kept under its name."""

    UPDATE = "update"
    """A new version of it, unless it is the same to the byte."""
    SKIP = "skip"
    """It stays as it is."""
    REFUSE = "refuse"
    """The import is refused: ``AlreadyImported``."""
    REFUSE_OTHER = "refuse-other"
    """The import is refused unless it is the same to the byte."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a reference stands: its newest version (0: none), since when, and whether that says it was deleted."""

    version: int = 0
    at_ms: int = 0
    deleted: bool = False

    @property
    def is_there(self) -> bool:
        """Whether there is anything to read."""
        return self.version > 0 and not self.deleted


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """One record as a source delivers it. ``content`` is kept byte for byte."""

    reference: str
    """Its name among the source's records, e.g. ``Observation/8b1f``: unique within the node."""
    record_type: str
    category: Category
    content: bytes = field(repr=False)
    found_by: tuple[str, ...] = field(default=(), repr=False)
    """Further strings it is found by, e.g. an identifier. Only blind tags of them are stored beside it."""
    follows: int | None = None
    """The version it must follow, 0 for none; None takes any."""
    if_kept: IfKept = IfKept.UPDATE


class BulkRecord(NamedTuple):
    """One record of a bulk source: whose it is, and what a twin needs to know of it.

    Attributes:
        owner: the patient's reference, or ``DIRECTORY``.
        person: what features need to know of a person, where this is the patient's own record.
        readings: numbers in it that a feature may be made of.
        if_kept: what becomes of it if its name is kept already.
    """

    owner: str
    record_type: str
    reference: str
    category: Category
    content: bytes
    found_by: tuple[str, ...]
    person: Person | None
    readings: tuple[Measurement, ...]
    if_kept: IfKept = IfKept.UPDATE


@dataclass(frozen=True, slots=True)
class PatientImport:
    """Everything one source says about one patient, or about the hospital itself (``DIRECTORY``).

    Attributes:
        reference: the patient's own record, e.g. ``Patient/123``; one of ``records`` has it, unless the twin exists.
            For a record that is deleted, itself: it names the twin that keeps it.
        records: the records, each reference once. One without content (``references.DELETED``) is deleted.
        measurements: every number in them that a feature could be made of, each with the record it is from.
        person: what features need to know of the person.
        source: where it came from, for reports; never stored.
    """

    reference: str
    records: tuple[ImportRecord, ...]
    measurements: tuple[Measurement, ...] = field(default=(), repr=False)
    person: Person = field(default=Person(), repr=False)
    source: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one record of an import. ``version`` is 0 where nothing had to be written."""

    reference: str
    change: str
    """``created``, ``updated`` or ``unchanged``."""
    version: int = 0
    began: bool = False
    """Whether nothing stood under this reference before: it is new, or it was deleted."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one import. ``at_ms`` is when it was written; 0 where nothing had to be."""

    twin: TwinId
    created: bool
    stored: tuple[Stored, ...]
    features: FeatureVector | None = field(default=None, repr=False)
    source: str = ""
    at_ms: int = 0

    def count(self, change: str) -> int:
        """How many records were ``created``, ``updated`` or ``unchanged``."""
        return sum(one.change == change for one in self.stored)
