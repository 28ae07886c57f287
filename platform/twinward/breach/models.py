"""A breach's case: what it is about, its clocks, and each step that was taken.

Two laws run beside each other; a hospital follows the one that binds it, or both:

* GDPR, article 33: the authority is told within 72 hours after the hospital became aware, and why, where it was later;
  article 34: patients are told without undue delay where the risk to them is high.
* HIPAA, 45 CFR 164.404, 406, 408: patients are told within 60 days after discovery; with 500 of them or more the
  media and the Secretary are, too, as soon.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from twinward.core.clock import iso
from twinward.core.sentences import Moment, sentence
from twinward.core.vocabulary import TwinId

HOUR_MS: Final = 3_600_000
AUTHORITY_MS: Final = 72 * HOUR_MS
"""GDPR, article 33(1)."""
PATIENTS_MS: Final = 60 * 24 * HOUR_MS
"""45 CFR 164.404(b)."""
MANY: Final = 500
"""45 CFR 164.406 and 164.408(b)."""


class ScopeKind(StrEnum):
    """What a case is opened from."""

    ACCOUNT = "account"
    """What one account did: a curious colleague, a stolen password."""
    VENDOR = "vendor"
    """What one vendor was told."""
    PATIENT = "patient"
    """What happened to one patient's record."""
    TIME = "time"
    """Everything between two moments: an intrusion."""
    KEY = "key"
    """Everything that a lost key-encryption key opens, whether anybody is known to have looked or not."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which accesses a case is about; ``from_ms`` and ``until_ms`` are half open, 0 is without an end.

    Attributes:
        account: of ``account`` and ``vendor``.
        twin: of ``patient``.
        kek: of ``key``: the version of the lost key-encryption key.
    """

    kind: ScopeKind
    account: str = ""
    twin: TwinId | None = None
    kek: int = 0
    from_ms: int = 0
    until_ms: int = 0

    def sentence(self) -> str:
        """In words."""
        what = {
            ScopeKind.ACCOUNT: sentence("what the account {account} did", account=self.account),
            ScopeKind.VENDOR: sentence("what the vendor {account} was told", account=self.account),
            ScopeKind.PATIENT: sentence("accesses to the twin {twin}", twin=self.twin)
            if self.twin
            else sentence("accesses to the twin of a patient who is shredded since"),
            ScopeKind.TIME: sentence("all accesses"),
            ScopeKind.KEY: sentence("everything that the lost KEK {kek} opens", kek=self.kek),
        }[self.kind]
        since = sentence(" from {begin}", begin=Moment(self.from_ms)) if self.from_ms else ""
        until = sentence(" until {until}", until=Moment(self.until_ms)) if self.until_ms else ""
        return sentence("{what}{since}{until}", what=what, since=since, until=until)


class Audience(StrEnum):
    """Who is notified."""

    AUTHORITY = "authority"
    PATIENTS = "patients"
    MEDIA = "media"


DRAFTED: Final = (Audience.AUTHORITY, Audience.PATIENTS)
"""For whom there is a draft; the media get the patients' (45 CFR 164.406(c))."""


class Outcome(StrEnum):
    """With what a case is closed."""

    NOTIFIED = "notified"
    NO_RISK = "no-risk"
    """It is unlikely to put anybody at risk: the authority need not be told, and the reason is kept (article 33(5))."""
    NO_BREACH = "no-breach"
    """It turned out to be none."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a case, an event of the log."""

    index: int
    at_ms: int
    by: str
    kind: str
    say: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Assessment:
    """Who is affected, counted in the first ``size`` entries of the log."""

    size: int
    at_ms: int
    subjects: int
    accesses: int
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A count that somebody asked for and that is not there yet: of the log's first ``size`` entries."""

    size: int
    at_ms: int
    by: str


@dataclass(frozen=True, slots=True)
class Draft:
    """One version of a notification's text."""

    version: int
    at_ms: int
    by: str
    index: int
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Notice:
    """Somebody was notified."""

    audience: Audience
    at_ms: int
    by: str
    reference: str = field(repr=False)
    version: int = 0
    """Of the draft that was sent; 0 where there was none."""


@dataclass(frozen=True, slots=True)
class BreachCase:
    """One case as far as the log tells it. Times are milliseconds since the epoch.

    The twin of its scope is None once that patient is shredded.
    """

    name: str
    title: str = field(repr=False)
    scope: Scope
    opened_by: str
    opened_ms: int
    aware_ms: int
    index: int
    assessment: Assessment | None = None
    asked: Asked | None = None
    drafts: tuple[tuple[Audience, Draft], ...] = ()
    notices: tuple[Notice, ...] = ()
    steps: tuple[Step, ...] = ()
    closed_ms: int | None = None
    outcome: str = ""
    reason: str = field(default="", repr=False)

    @property
    def is_open(self) -> bool:
        """Whether steps can be taken still."""
        return self.closed_ms is None

    @property
    def due_ms(self) -> int:
        """By when the authority is to be told."""
        return self.aware_ms + AUTHORITY_MS

    @property
    def patients_due_ms(self) -> int:
        """By when patients are to be told."""
        return self.aware_ms + PATIENTS_MS

    def notice(self, audience: Audience) -> Notice | None:
        """When somebody was told first."""
        return next((one for one in self.notices if one.audience is audience), None)

    def drafts_for(self, audience: Audience) -> list[Draft]:
        """All versions, oldest first."""
        return [draft for whom, draft in self.drafts if whom is audience]

    def state(self, now_ms: int) -> str:
        """``open``, ``overdue`` (the authority was to be told), ``told`` (it was), or ``closed``."""
        if self.closed_ms is not None:
            return "closed"
        if self.notice(Audience.AUTHORITY):
            return "told"
        return "overdue" if now_ms > self.due_ms else "open"

    def left_ms(self, now_ms: int) -> int:
        """How long until the authority is to be told; below 0 when that is past."""
        return self.due_ms - now_ms

    def as_json(self, now_ms: int) -> dict[str, Any]:
        """For a machine."""
        found = self.assessment
        return {
            "breach": self.name,
            "state": self.state(now_ms),
            "title": self.title,
            "scope": self.scope.sentence(),
            "opened": iso(self.opened_ms),
            "opened_by": self.opened_by,
            "aware": iso(self.aware_ms),
            "authority_due": iso(self.due_ms),
            "patients_due": iso(self.patients_due_ms),
            "assessment": None
            if found is None
            else {
                "log_size": found.size,
                "at": iso(found.at_ms),
                "subjects": found.subjects,
                "accesses": found.accesses,
                "categories": list(found.categories),
            },
            "count_asked_for": None
            if self.asked is None
            else {"log_size": self.asked.size, "at": iso(self.asked.at_ms), "by": self.asked.by},
            "drafts": {one.value: len(self.drafts_for(one)) for one in DRAFTED},
            "notified": [
                {"audience": one.audience.value, "at": iso(one.at_ms), "reference": one.reference}
                for one in self.notices
            ],
            "closed": iso(self.closed_ms) if self.closed_ms is not None else None,
            "outcome": self.outcome or None,
            "reason": self.reason or None,
            "timeline": [
                {"index": one.index, "at": iso(one.at_ms), "by": one.by, "step": one.kind, "say": one.say}
                for one in self.steps
            ],
        }


def _minute(at_ms: int) -> str:
    return iso(at_ms)[:16].replace("T", " ")
