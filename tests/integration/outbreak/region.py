"""Three hospitals of one home that count together: patients, their Conditions, what is agreed on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from tests.integration.cli.conftest import OFFICER, make_hospital
from tests.kept_homes import copied
from twinward.access.consent_choices import CHOICES
from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Category, Purpose, TwinId
from twinward.federation.models import COHORT
from twinward.node import SYSTEM, Node, open_node
from twinward.node.outbreak_releases import releases_of, roster_of
from twinward.node.study_approvals import member
from twinward.outbreak.agreement import AgreedPeriod, PeriodTerms
from twinward.outbreak.continual import Period
from twinward.outbreak.period_store import KeptSum
from twinward.outbreak.releases import Releases
from twinward.outbreak.shares import Share, SummedDays
from twinward.outbreak.syndromes import fingerprint
from twinward.twins.models import ImportRecord, PatientImport

NAMES = ("st-anna", "northgate", "lakeside")
FILING = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)
RUNNING = AccessContext(OFFICER, Purpose.OPERATIONS)
APPROVING = AccessContext(OFFICER, Purpose.COMPLIANCE)
FLU = {"system": "http://hl7.org/fhir/sid/icd-10", "code": "J10.1"}
CAP_MICROS = 3_200_000
TODAY = datetime.now(UTC).date()
DAYS = [TODAY - timedelta(days=back) for back in range(5, 0, -1)]
"""Of ``terms``: the first is five days ago."""


def condition(day: date | str, coding: dict[str, str] = FLU, **more: object) -> dict[str, object]:
    return {"resourceType": "Condition", "recordedDate": str(day), "code": {"coding": [coding]}} | more


def terms(name: str = "week", **changes: object) -> PeriodTerms:
    """Five days that ended yesterday, one syndrome, each day alone, unless it is said otherwise."""
    fields = {"days": 5, "levels": 1, "epsilon": 2.0, "delta": 1e-6, "syndromes": ("influenza",)} | changes
    first = TODAY - timedelta(days=5)
    promised = Period(fields["days"], fields["levels"], fields["epsilon"], fields["delta"], len(fields["syndromes"]))  # type: ignore[arg-type]
    known = {"name": name, "hospitals": NAMES, "first_day": first, "honest": 2, "code_lists": fingerprint().hex()}
    return PeriodTerms.parse(known | {"variance": promised.variance} | fields)


@dataclass
class Region:
    """The home that is open."""

    node: Node

    def admit(self, hospital: str, name: str, *conditions: dict[str, object], consents: bool = True) -> TwinId:
        """A patient with these Conditions; another call adds to them."""
        content = json.dumps({"resourceType": "Patient", "id": name}).encode()
        records = [ImportRecord(f"Patient/{name}", "Patient", Category.DEMOGRAPHICS, content)]
        for number, one in enumerate(conditions):
            reference = str(one.get("id", f"Condition/{name}-{len(conditions)}-{number}"))
            records.append(ImportRecord(reference, "Condition", Category.CONDITIONS, json.dumps(one).encode()))
        with member(self.node, hospital) as one_hospital:
            twin = one_hospital.node.twins.ingest(FILING, PatientImport(f"Patient/{name}", tuple(records))).twin
            if consents:
                one_hospital.node.access.set_consents(
                    AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, (CHOICES["counts"],))]
                )
        return twin

    @contextmanager
    def part(self, hospital: str, by: AccessContext = RUNNING) -> Iterator[tuple[Releases, AccessContext]]:
        with releases_of(self.node, hospital, by) as found:
            yield found

    def invited(self, agreed: PeriodTerms) -> bytes:
        with self.part("st-anna", APPROVING) as (releases, by):
            return releases.invite(by, agreed, roster_of(self.node, agreed, ()))

    def approved(self, hospital: str, invitation: bytes) -> bytes:
        with self.part(hospital, APPROVING) as (releases, by):
            return releases.approve(by, invitation)

    def agreed(self, agreed: PeriodTerms) -> AgreedPeriod:
        """Invited, approved by all, paid for."""
        invitation = self.invited(agreed)
        made = AgreedPeriod.join(invitation, [self.approved(name, invitation) for name in NAMES])
        with self.part("st-anna") as (releases, by):
            releases.reserve(by, made)
        return made

    def released(self, hospital: str, agreed: AgreedPeriod, day: int | None = None) -> bytes:
        with self.part(hospital) as (releases, by):
            return releases.release(by, agreed, day)

    def kept_sums(self, counts: Sequence[int], name: str = "months", **changes: object) -> SummedDays:
        """Sums that end yesterday, as if all hospitals' shares had been added up in this home's own hospital."""
        first = TODAY - timedelta(days=len(counts))
        made = terms(name, **{"days": len(counts), "first_day": first} | changes)
        nodes = tuple((day, day, count) for day, count in enumerate(counts, 1))
        summed = SummedDays(made, dict.fromkeys(made.syndromes, nodes))
        self.node.outbreak_periods.keep_sum(made.fingerprint(), KeptSum(summed.days, summed.content()))
        return summed

    def summed(self, agreed: AgreedPeriod, shares: Sequence[bytes]) -> SummedDays:
        with self.part("lakeside") as (releases, by):
            return releases.add_up(by, agreed, [Share.parse(one, agreed) for one in shares])


def _founded(home: Path) -> None:
    make_hospital(home)
    with open_node(home) as node:
        for name in NAMES:
            node.consortium.cap_privacy(name, COHORT, CAP_MICROS)


@contextmanager
def opened_region(home: Path) -> Iterator[Region]:
    if not home.exists():
        copied(("region",), home, _founded)
    with open_node(home) as node:
        yield Region(node)
