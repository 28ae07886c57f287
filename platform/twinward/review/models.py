"""What a review works on and comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from twinward.audit.models import IndexedAccess
from twinward.core.vocabulary import Role, TwinId


class LinkKind(StrEnum):
    """How care connects somebody with a patient."""

    ENCOUNTER = "encounter"
    APPOINTMENT = "appointment"
    ORDER = "order"
    REFERRAL = "referral"
    CARE_TEAM = "care team"
    UNIT = "unit"


@dataclass(frozen=True, slots=True)
class CareLink:
    """One connection: to an account, or (``UNIT``) to everybody of a unit, in ``[from_ms, until_ms)``."""

    kind: LinkKind
    to: str
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Kin:
    """What tells that two people may know each other: folded family names, addresses, and whose account one is."""

    surnames: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CareContext:
    """What care data say about one patient. ``is_known`` False: they could not be opened, by consent say."""

    twin: TwinId
    links: tuple[CareLink, ...] = ()
    kin: Kin = field(default=Kin(), repr=False)
    is_vip: bool = False
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class Staff:
    """What the hospital's directory says of its people, by account."""

    kin: Mapping[str, Kin] = field(default_factory=dict, repr=False)
    units: Mapping[str, str] = field(default_factory=dict, repr=False)
    ties: Mapping[str, TwinId] = field(default_factory=dict, repr=False)
    """Of patients' accounts: whose record each is tied to."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What one account did with one patient on one day. ``index`` of its first event names it."""

    agent: str
    role: Role
    unit: str
    twin: TwinId
    accesses: tuple[IndexedAccess, ...] = field(repr=False)

    @property
    def index(self) -> int:
        """Its first event."""
        return self.accesses[0].index

    @property
    def at_ms(self) -> int:
        """When it began."""
        return self.accesses[0].at_ms


@dataclass(frozen=True, slots=True)
class Explained:
    """A visit that is explained: by which template, and the sentence."""

    visit: Visit
    template: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something should be looked at first; ``weight`` between 0 and 1."""

    name: str
    sentence: str
    weight: float


@dataclass(frozen=True, slots=True)
class Suspect:
    """A visit that nothing explains, with its risk (0 to 1) and what it is made of, the heaviest first."""

    visit: Visit
    risk: float
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class DayReview:
    """A day's visits, examined.

    Attributes:
        day: which (UTC).
        explained: by the number of visits that each template explains.
        suspects: what nothing explains, by risk.
        sample: visits drawn at random from all, explained ones too; with the sentence that explains each.
        seed: what the sample was drawn by: the signed checkpoint's size and root, in hexadecimal; empty for none yet.
        size: how far the log was read.
    """

    day: date
    explained: Mapping[str, int]
    suspects: tuple[Suspect, ...]
    sample: tuple[tuple[Visit, str], ...]
    seed: str
    size: int

    @property
    def visits(self) -> int:
        """How many there were."""
        return sum(self.explained.values()) + len(self.suspects)

    @property
    def explained_share(self) -> float:
        """Of all visits; 1 where there were none."""
        return sum(self.explained.values()) / self.visits if self.visits else 1.0


class Verdict(StrEnum):
    """What an officer does with a visit."""

    SIGNED_OFF = "signed-off"
    ASKED = "asked"
    ANSWERED = "answered"
    ESCALATED = "escalated"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a review: who did what, when, in which event."""

    index: int
    at_ms: int
    by: str
    verdict: Verdict
    note: str


@dataclass(frozen=True, slots=True)
class ReviewCase:
    """The review of one visit, as far as it has come. ``index`` is the visit's first event."""

    index: int
    agent: str
    steps: tuple[Step, ...]

    @property
    def is_closed(self) -> bool:
        """Whether an officer signed it off, or escalated it."""
        return any(one.verdict in (Verdict.SIGNED_OFF, Verdict.ESCALATED) for one in self.steps)

    @property
    def is_answered(self) -> bool:
        """Whether an answer waits for an officer's finding."""
        return bool(self.steps) and self.steps[-1].verdict is Verdict.ANSWERED

    @property
    def question(self) -> Step | None:
        """The question that waits for an answer; None where none does."""
        open_: Step | None = None
        for one in self.steps:
            open_ = one if one.verdict is Verdict.ASKED else None if one.verdict is Verdict.ANSWERED else open_
        return None if self.is_closed else open_
