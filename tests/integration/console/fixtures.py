"""One hospital's real node with a handful of patients, a day of accesses and an anchored log: for console and API."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.kept_homes import copied
from twinward.access.consent import Provision
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.api.app import create_app
from twinward.console import mount
from twinward.core.clock import Clock, FixedClock, SystemClock
from twinward.core.config import Settings
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node import SYSTEM, Node, create_node, lifecycle
from twinward.twins.models import DIRECTORY

OFFICER = Principal("officer", Role.OFFICER, "Olga Officer", "data office")
CLINICIAN = Principal("dr-lee", Role.CLINICIAN, "Dr. Lee", "cardiology")
SYSTEMS = {
    "clinician": CLINICIAN,
    "officer": Principal("officer-api", Role.OFFICER, "Officer's scripts", "data office"),
    "vendor": Principal("acme", Role.VENDOR, "Acme Diagnostics"),
    "researcher": Principal("marie", Role.RESEARCHER, "Marie Research", "study office"),
    "system": Principal("ward-3", Role.SYSTEM, "Ward 3"),
    "operator": Principal("ops", Role.OPERATOR, "Operator"),
    "peer": Principal("northgate-node", Role.PEER_HOSPITAL, "Northgate"),
}
PASSWORD = "correct horse battery"
NIGHT_PASSWORD = "another long password"
SIMILARITY_YES = Provision(effect="permit", purposes=(Purpose.SIMILARITY,), categories=(Category.FEATURES,))


@dataclass
class House:
    """A node, its twins and the bearer token of one account of each role."""

    node: Node
    twins: tuple[TwinId, ...]
    tokens: dict[str, str]
    first_day: int = 0
    """How large the log was at the end of it."""

    @cached_property
    def app(self) -> FastAPI:
        """Its API and its console: made once, for that takes longer than most tests do."""
        made = create_app(self.node)
        mount(made, self.node)
        return made

    def size(self) -> int:
        return self.node.log.store.size()

    def read(self, who: Principal, twin: TwinId, *categories: Category, **why: object) -> None:
        purpose = why.get("purpose", Purpose.TREATMENT)
        assert isinstance(purpose, Purpose)
        said = str(why.get("justification", ""))
        with contextlib.suppress(AccessDenied):
            self.node.access.decide(AccessRequest(who, Action.READ, purpose, twin, frozenset(categories), said))

    def a_day(self) -> None:
        """Reads that are permitted, refused, and made in an emergency."""
        for twin in self.twins:
            self.read(CLINICIAN, twin, Category.LABS)
            self.read(CLINICIAN, twin, Category.VITALS, Category.CONDITIONS)
            self.read(CLINICIAN, twin, Category.PSYCHIATRY)
        self.read(SYSTEMS["vendor"], self.twins[0], Category.LABS, purpose=Purpose.SIMILARITY)
        self.read(
            CLINICIAN,
            self.twins[0],
            Category.PSYCHIATRY,
            purpose=Purpose.EMERGENCY,
            justification='patient found <unconscious> & "cold"',
        )


def settled(web: TestClient, path: str) -> str:
    """A page once what it waits for is done beside it."""
    until = time.monotonic() + 60
    while 'id="running"' in (page := web.get(path).text):
        assert time.monotonic() < until, f"{path}: it goes on and on"
        time.sleep(0.02)
    return page


def build(home: Path, *, patients: int = 5, clock: Clock | None = None) -> House:
    """A node after a day; its log is signed, co-signed and anchored once."""
    begun = None if clock is None else clock.now_ms()
    if begun not in (None, FixedClock().now_ms()):
        return _build(home, patients, clock)

    def first(kept: Path) -> House:
        house = _build(kept, patients, None if clock is None else FixedClock())
        house.node.close()
        return house

    house = copied(("house", patients, begun), home, first)
    node = lifecycle._opened(Settings.load(home), clock or SystemClock(), None)
    return House(node, house.twins, dict(house.tokens), house.first_day)


def _build(home: Path, patients: int, clock: Clock | None) -> House:
    node = create_node(Settings(home=home), clock=clock)
    node.accounts.add_person(OFFICER, PASSWORD)
    node.accounts.add_person(Principal("nurse", Role.CLINICIAN, "Night Nurse", "ward 3"), NIGHT_PASSWORD)
    node.accounts.add_person(Principal("olive", Role.OPERATOR, "Olive Brand", "computing"), PASSWORD)
    node.accounts.add_person(Principal("mary", Role.RESEARCHER, "Mary Klein"), PASSWORD)
    tokens = {name: node.accounts.add_system(principal) for name, principal in SYSTEMS.items()}
    node.consortium.grant_queries("acme", node.settings.vendor_budget)
    twins = [
        node.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one).twin
        for one in generate_cohort(patients, 7)
        if one.reference != DIRECTORY
    ]
    house = House(node, tuple(dict.fromkeys(twins)), tokens)
    node.access.set_consents(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, (SIMILARITY_YES,)) for twin in house.twins[:-1]]
    )
    house.a_day()
    house.first_day = house.size()
    node.audit.checkpoint_and_anchor()
    return house
