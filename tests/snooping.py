"""A hospital's day of accesses with snooping planted in it: for the review's tests and its benchmark.

Everything is drawn from a seed. Care is written as FHIR resources, so that the review reads it as it reads a vault's.
What honest people do that no record explains (a colleague helps out, a consult nobody wrote down, a wrong patient
clicked) is in it too: ``UNDOCUMENTED`` of their visits.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from twinward.audit.models import IndexedAccess
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.review.care import Directory, care_of
from twinward.review.examination import visits_of
from twinward.review.models import CareContext, Staff, Visit

UNDOCUMENTED = 0.02
DAY = date(2026, 3, 2)
_START_MS = round(datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp() * 1000)
_HOUR_MS = 3600 * 1000
_WARD_HOURS = (7, 8, 8, 9, 9, 9, 10, 10, 11, 11, 13, 14, 14, 15, 16, 17, 18, 20, 22, 2, 4)
_KINDS = ("surname", "household", "colleague", "guarded", "curious at night", "many at once", "plain")
_SURNAMES = [f"{start}{end}" for start in ("Mül", "Web", "Sto", "Kel", "Brun", "Fei", "Lan", "Gro") for end in
             ("ler", "er", "ll", "ner", "ni", "ss", "ge", "mann", "hof", "berg", "li", "dt")]  # fmt: skip
_CATEGORIES = (Category.LABS, Category.VITALS, Category.MEDICATIONS, Category.CONDITIONS, Category.NOTES)


@dataclass
class Hospital:
    """One day: visits, what care data say, and which visits were planted."""

    visits: list[Visit]
    care: dict[TwinId, CareContext]
    staff: Staff
    planted: set[int] = field(default_factory=set)
    """First events of the snoops' visits."""

    @property
    def honest(self) -> list[Visit]:
        return [one for one in self.visits if one.index not in self.planted]


class _Drawn:
    def __init__(self, seed: int, people: int, patients: int, units: int) -> None:
        self.draw = random.Random(seed)
        self.units = [f"Ward {number}" for number in range(units)]
        self.staff = [f"person-{number}" for number in range(people)]
        self.unit_of = {one: self.draw.choice(self.units) for one in self.staff}
        self.family = {one: self.draw.choice(_SURNAMES) for one in self.staff}
        self.street = {one: f"{one}'s street 1" for one in self.staff}
        self.practitioners = [self._practitioner(one) for one in self.staff]
        self.directory = Directory(self.practitioners)
        self.by_unit = {unit: [one for one in self.staff if self.unit_of[one] == unit] for unit in self.units}
        self.treating: dict[TwinId, list[str]] = {}
        self.ward: dict[TwinId, str] = {}
        self.resources: dict[TwinId, list[dict[str, Any]]] = {}
        for number in range(patients):
            self._patient(TwinId(f"twin-{number}"))
        self.accesses: list[IndexedAccess] = []
        self.planted: set[tuple[str, TwinId]] = set()

    def _practitioner(self, account: str) -> dict[str, Any]:
        return {
            "resourceType": "Practitioner",
            "id": f"p-{account}",
            "identifier": [{"system": "urn:twinward:principal", "value": account}],
            "name": [{"family": self.family[account]}],
            "address": [{"line": [self.street[account]], "city": "Town"}],
        }

    def _patient(self, twin: TwinId) -> None:
        draw, unit = self.draw, self.draw.choice([one for one in self.units if self.by_unit[one]])
        colleagues = self.by_unit[unit]
        treating = draw.sample(colleagues, min(len(colleagues), 3))
        consult = draw.choice(self.staff)
        self.treating[twin], self.ward[twin] = [*treating, consult], unit
        patient = {
            "resourceType": "Patient",
            "name": [{"family": draw.choice(_SURNAMES)}],
            "address": [{"line": [f"{twin} street 2"], "city": "Town"}],
        }
        encounter = {
            "resourceType": "Encounter",
            "period": {"start": "2026-02-28", "end": "2026-03-04"},
            "participant": [{"individual": {"reference": f"Practitioner/p-{one}"}} for one in treating],
            "location": [{"location": {"display": unit}}] if draw.random() < 0.8 else [],
        }
        referral = {
            "resourceType": "ServiceRequest",
            "authoredOn": "2026-03-01T10:00:00Z",
            "requester": {"reference": f"Practitioner/p-{treating[0]}"},
            "performer": [{"reference": f"Practitioner/p-{consult}"}],
        }
        self.resources[twin] = [patient, encounter, referral]

    def access(self, account: str, twin: TwinId, hour: int, times: int = 1) -> None:
        for _ in range(times):
            categories = tuple(sorted(self.draw.sample(_CATEGORIES, self.draw.randint(1, 3))))
            at_ms = _START_MS + hour * _HOUR_MS + self.draw.randrange(_HOUR_MS)
            self.accesses.append(
                IndexedAccess(0, at_ms, account, Role.CLINICIAN, self.unit_of[account], Action.READ, Purpose.TREATMENT,
                              twin, categories, True, "")
            )  # fmt: skip

    def honest_day(self, visits: int) -> None:
        twins = list(self.treating)
        for _ in range(visits):
            twin = self.draw.choice(twins)
            kind = self.draw.random()
            if kind < UNDOCUMENTED:
                who = self.draw.choice(self.staff)
            elif kind < 0.45:
                who = self.draw.choice(self.treating[twin])
            else:
                who = self.draw.choice(self.by_unit[self.ward[twin]])
            self.access(who, twin, self.draw.choice(_WARD_HOURS), self.draw.randint(1, 6))

    def snoop(self, kind: str) -> None:
        who = self.draw.choice(self.staff)
        twins = self.draw.sample(list(self.treating), 8)
        strangers = [one for one in twins if self.ward[one] != self.unit_of[who] and who not in self.treating[one]]
        hour = self.draw.choice((2, 3)) if kind == "curious at night" else self.draw.choice(_WARD_HOURS)
        for twin in strangers[: 7 if kind == "many at once" else 1]:
            patient = self.resources[twin][0]
            if kind == "surname":
                patient["name"] = [{"family": self.family[who]}]
            elif kind == "household":
                patient["address"] = [{"line": [self.street[who]], "city": "Town"}]
            elif kind == "colleague":
                other = self.draw.choice(self.staff)
                patient["identifier"] = [{"system": "urn:twinward:principal", "value": other}]
            elif kind == "guarded":
                patient["meta"] = {"security": [{"code": "CEL"}]}
            self.planted.add((who, twin))
            self.access(who, twin, hour, self.draw.randint(1, 3))


def a_day(seed: int, *, visits: int = 4000, snoops: int = 12, people: int = 400, patients: int = 1500) -> Hospital:
    """A day with so many honest visits (before those of one person to one patient are put together)."""
    drawn = _Drawn(seed, people, patients, units=20)
    drawn.honest_day(visits)
    for number in range(snoops):
        drawn.snoop(_KINDS[number % len(_KINDS)])
    in_order = sorted(drawn.accesses, key=lambda one: one.at_ms)
    numbered = [_numbered(one, index) for index, one in enumerate(in_order)]
    visits_found = visits_of(numbered)
    care = {twin: care_of(twin, its, drawn.directory) for twin, its in drawn.resources.items()}
    staff = Staff(drawn.directory.staff.kin, drawn.unit_of)
    planted = {one.index for one in visits_found if (one.agent, one.twin) in drawn.planted}
    return Hospital(visits_found, care, staff, planted)


def _numbered(one: IndexedAccess, index: int) -> IndexedAccess:
    return IndexedAccess(
        index, one.at_ms, one.agent, one.role, one.unit, one.action, one.purpose, one.twin, one.categories,
        one.permitted, one.detail,
    )  # fmt: skip
