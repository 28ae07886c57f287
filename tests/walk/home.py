"""``python -m tests.walk.home HOME``: a hospital after ninety days, for walking it by hand and for measuring it.

27 Synthea patients as they were exported, each admitted to a ward besides; 20 accounts; and as many events as asked
for (``--events``, a million by default). Each event is one that the node itself decided and logged, at the clock's time
of then; the log is signed, cosigned and anchored every night. A million takes some ten minutes of one core and 3 GB.

Whose secrets these are is written to ``HOME.secrets.json``, beside the home.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.tools import ROOT
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.core.clock import FixedClock, iso
from twinward.core.config import Settings
from twinward.core.vocabulary import Action, Again, Category, Purpose, Role, TwinId
from twinward.fhir.bulk.bundle_files import bundle_of
from twinward.fhir.mapping.ids import Origin
from twinward.node import SYSTEM, Node, create_node
from twinward.twins.models import DIRECTORY

DAYS: Final = 90
DAY_MS: Final = 86_400_000
AT_ONCE: Final = 48
"""Events of one moment, made durable together."""
PASSWORD: Final = "plum tree under slow rain"
OFFICERS: Final = (
    Principal("olga", Role.OFFICER, "Olga Officer", "data office"),
    Principal("otto", Role.OFFICER, "Otto Officer", "data office"),
)
OPERATOR: Final = Principal("olive", Role.OPERATOR, "Olive Brand", "computing")
CLINICIANS: Final = tuple(
    Principal(account, Role.CLINICIAN, name, unit)
    for account, name, unit in (
        ("dr-lee", "Dr. Lee", "cardiology"),
        ("dr-ortiz", "Dr. Ortiz", "cardiology"),
        ("nurse-novak", "Nora Novak", "cardiology"),
        ("dr-adeyemi", "Dr. Adeyemi", "surgery"),
        ("nurse-silva", "Sam Silva", "surgery"),
        ("dr-brandt", "Dr. Brandt", "oncology"),
        ("nurse-kim", "Kit Kim", "oncology"),
        ("dr-moen", "Dr. Moen", "emergency"),
    )
)
RESEARCHER: Final = Principal("mary", Role.RESEARCHER, "Mary Klein", "study office")
SYSTEMS: Final = (
    Principal("ehr", Role.SYSTEM, "Records system"),
    Principal("monitors", Role.SYSTEM, "Bedside monitors"),
    Principal("laboratory", Role.SYSTEM, "Laboratory system"),
)
VENDORS: Final = (
    Principal("acme", Role.VENDOR, "Acme Diagnostics"),
    Principal("borealis", Role.VENDOR, "Borealis Trials"),
)
PATIENTS: Final = ("antonina", "brant", "zula")
"""Accounts of three of the patients, each tied to the record of the patient of this given name."""
WARDS: Final = ("cardiology", "surgery", "oncology", "emergency")
SIMILARITY: Final = Provision(effect="permit", purposes=(Purpose.SIMILARITY,), categories=(Category.FEATURES,))
_FILED: Final = {
    "monitors": (Category.VITALS,),
    "laboratory": (Category.LABS,),
    "ehr": (Category.MEDICATIONS, Category.CONDITIONS, Category.PROCEDURES, Category.NOTES, Category.ENCOUNTERS),
}
_READ: Final = (Category.LABS, Category.VITALS, Category.MEDICATIONS, Category.CONDITIONS, Category.NOTES)
_KINDS: Final = {"labs": "Observation", "vitals": "Observation", "medications": "MedicationRequest"}
_HOURS: Final = (1, 3, 5, 7, 8, 8, 9, 9, 9, 10, 10, 11, 11, 12, 13, 14, 14, 15, 16, 17, 18, 20, 22, 23)


@dataclass(frozen=True)
class Patient:
    """One of the 27: the record, where they lie, and how much of the traffic is about them."""

    twin: TwinId
    name: str
    ward: str
    share: float


def admitted(bundle: bytes, number: int, at_ms: int) -> tuple[bytes, str, str]:
    """A Synthea bundle with one stay in a ward besides, under the eyes of two of its people; the given name; the ward.

    Synthea's encounters end in 2021, so nothing of today would be explained by them.
    """
    document = json.loads(bundle)
    whose = next(one for one in document["entry"] if one["resource"]["resourceType"] == "Patient")
    ward = WARDS[number % len(WARDS)]
    treating = [one for one in CLINICIANS if one.unit == ward]
    system = "urn:twinward:principal"
    stay: dict[str, Any] = {
        "resourceType": "Encounter",
        "status": "in-progress",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": whose["fullUrl"]},
        "period": {"start": iso(at_ms)},
        "serviceProvider": {"display": ward},
        "participant": [{"individual": {"identifier": {"system": system, "value": one.id}}} for one in treating[:2]],
    }
    request = {"method": "POST", "url": "Encounter"}
    document["entry"].append({"fullUrl": f"urn:uuid:{number:08d}-0000-4000-8000-000000000000", "resource": stay})
    document["entry"][-1]["request"] = request
    return json.dumps(document).encode(), whose["resource"]["name"][0]["given"][0], ward


def taken_in(node: Node, files: list[Path], draw: random.Random) -> list[Patient]:
    """Every bundle, through the import that an operator types."""
    context, found = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), []
    for number, path in enumerate(files):
        data, name, ward = admitted(gzip.decompress(path.read_bytes()), number, node.clock.now_ms())
        receipts = bundle_of(path, data, origin=Origin("synthea", Again.SKIP), clock=node.clock).into(
            node.twins, context
        )
        twin = next(one.twin for one in receipts if all(stored.reference != DIRECTORY for stored in one.stored))
        found.append(Patient(twin, name.lower(), ward, 0.01 if number == 0 else draw.uniform(0.5, 1.5)))
    rest = sum(one.share for one in found[1:])
    return [found[0], *(Patient(one.twin, one.name, one.ward, 0.99 * one.share / rest) for one in found[1:])]


class Traffic:
    """What a hospital's people and systems do all day, drawn; some of it is refused, and little of it is snooping."""

    def __init__(self, patients: list[Patient], draw: random.Random) -> None:
        self._patients, self._draw = patients, draw
        self._shares = [one.share for one in patients]

    def batch(self, count: int) -> list[AccessRequest]:
        """So many accesses of about one moment."""
        return [self._one() for _ in range(count)]

    def _one(self) -> AccessRequest:
        draw = self._draw
        kind, patient = draw.random(), draw.choices(self._patients, self._shares)[0]
        if kind < 0.55:
            system = SYSTEMS[min(2, int(draw.random() ** 2 * 3))]
            category = draw.choice(_FILED[system.id])
            return self._of(system, Action.WRITE, Purpose.RECORD_MANAGEMENT, patient.twin, (category,))
        if kind < 0.93:
            who = draw.choice([one for one in CLINICIANS if one.unit == patient.ward])
            action = draw.choices((Action.READ, Action.SEARCH, Action.WRITE), (80, 14, 6))[0]
            return self._of(who, action, Purpose.TREATMENT, patient.twin, draw.sample(_READ, draw.randint(1, 3)))
        if kind < 0.96:
            who = draw.choice(CLINICIANS)  # helps out elsewhere, or looks where nobody asked them to
            return self._of(who, Action.READ, Purpose.TREATMENT, patient.twin, (draw.choice(_READ),))
        if kind < 0.98:
            return self._of(draw.choice(CLINICIANS), Action.READ, Purpose.TREATMENT, patient.twin, (Category.HIV,))
        if kind < 0.995:
            return self._of(draw.choice(VENDORS), Action.MATCH, Purpose.SIMILARITY, patient.twin, (Category.FEATURES,))
        return self._of(RESEARCHER, Action.READ, Purpose.RESEARCH, patient.twin, (draw.choice(_READ),))

    def _of(
        self, who: Principal, action: Action, purpose: Purpose, twin: TwinId, categories: Any
    ) -> AccessRequest:  # fmt: skip
        kept = tuple(categories)
        kind = _KINDS.get(kept[0].value, "Condition")
        detail = (("route", "fhir"), ("reference", f"{kind}/{self._draw.randrange(10**7)}"))
        return AccessRequest(who, action, purpose, twin, frozenset(kept), detail=detail)


def emergency(node: Node, patient: Patient, why: str) -> None:
    """Somebody goes past the policy, for a reason."""
    who = next(one for one in CLINICIANS if one.unit == "emergency")
    request = AccessContext(who, Purpose.EMERGENCY, why).request(Action.READ, patient.twin, (Category.HIV,))
    node.access.decide(request)


def opened_accounts(node: Node) -> dict[str, str]:
    """Seventeen of the twenty; the tokens of those that have one."""
    node.accounts.add_person(OFFICERS[0], PASSWORD)
    for one in (OFFICERS[1], OPERATOR, *CLINICIANS, RESEARCHER):
        node.accounts.add_person(one, PASSWORD)
    return {one.id: node.accounts.add_system(one) for one in (*SYSTEMS, *VENDORS)}


def make(home: Path, files: list[Path], events: int, now_ms: int) -> None:
    """Make the home, and let ninety days pass."""
    draw, clock = random.Random(14), FixedClock(now_ms - DAYS * DAY_MS)
    node = create_node(Settings(home=home), clock=clock)
    tokens = opened_accounts(node)
    patients = taken_in(node, files, draw)
    officer = AccessContext(OFFICERS[0], Purpose.COMPLIANCE)
    for account in PATIENTS:
        twin = next(one.twin for one in patients if one.name == account)
        node.account_desk.add_patient(account, account.capitalize(), PASSWORD, twin, officer)
    kept = AccessContext(OFFICERS[0], Purpose.RECORD_MANAGEMENT)
    node.access.set_consents(kept, [(one.twin, (SIMILARITY,)) for one in patients[:-3]])
    for vendor in VENDORS:
        node.consortium.grant_queries(vendor.id, node.settings.vendor_budget)
    secrets = {"password": PASSWORD, "tokens": tokens, "twins": {one.name: one.twin for one in patients}}
    home.with_suffix(".secrets.json").write_text(json.dumps(secrets, indent=2))
    _days(node, clock, Traffic(patients, draw), patients, events, draw)
    node.close()


def _days(
    node: Node, clock: FixedClock, traffic: Traffic, patients: list[Patient], events: int, draw: random.Random
) -> None:
    begin_ms, size = clock.at_ms, node.log.store.size
    for day in range(DAYS):
        midnight, left = begin_ms + day * DAY_MS, round(events * (day + 1) / DAYS) - size()
        batches = max(1, -(-left // AT_ONCE))
        moments = sorted(draw.choice(_HOURS) * 3_600_000 + draw.randrange(3_600_000) for _ in range(batches))
        for number, moment in enumerate(moments):
            clock.at_ms = max(clock.at_ms, midnight + moment)
            node.access.decide_many(traffic.batch(min(AT_ONCE, left - number * AT_ONCE)))
        if day % 13 == 6 or day in (DAYS - 2, DAYS - 1):
            emergency(node, draw.choice(patients), "found unconscious, nobody knew what was taken")
        node.audit.checkpoint_and_anchor()
        sys.stderr.write(f"\rday {day + 1}: {size():,} events, {time.process_time():.0f} s of CPU")
    sys.stderr.write("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a home of 27 patients, 20 accounts and a million events.")
    parser.add_argument("home", type=Path)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--bundles", type=Path, default=ROOT.parent / "shared/data/synthea-r4")
    asked = parser.parse_args()
    files = sorted(asked.bundles.glob("*.json.gz"))
    if not files:
        raise SystemExit(f"there are no Synthea bundles (*.json.gz) in {asked.bundles}: name their folder by --bundles")
    make(asked.home, files, asked.events, time.time_ns() // 1_000_000)


if __name__ == "__main__":
    main()
