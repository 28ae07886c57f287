"""A served node with something on every page of its console, and every page with who may see it.

What ``test_every_page_in_chromium`` walks and ``tests.checks.pictures`` takes pictures of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import numpy as np

from tests.browser.conftest import served
from tests.held_keys import HeldKeysBudget
from tests.integration.api.test_reason import api_routes
from tests.integration.console.fixtures import (
    CLINICIAN,
    NIGHT_PASSWORD,
    PASSWORD,
    SIMILARITY_YES,
    SYSTEMS,
    House,
    build,
)
from tests.integration.console.monitors import an_hour_of_it
from tests.integration.console.shared_things import break_down, equip, lend
from tests.integration.outbreak.region import Region
from twinward.access.consent_choices import CHOICES
from twinward.access.interfaces import AccessContext, Permit, Principal
from twinward.api.app import create_app
from twinward.audit.queries import day_of
from twinward.breach.models import Scope, ScopeKind
from twinward.console import mount
from twinward.console.sessions import PATH, SESSION_COOKIE
from twinward.core.vocabulary import Category, Purpose, Role
from twinward.federation.approval import digest_of
from twinward.federation.models import COHORT
from twinward.federation.study import StudyProtocol
from twinward.node.study_approvals import invite
from twinward.outbreak.seir import Epidemic, background, cases
from twinward.overview.log import permit_to_examine
from twinward.protocol.contacts import ContactProposal
from twinward.protocol.criteria import Criteria
from twinward.protocol.feasibility import FeasibilityQuestion
from twinward.review.models import Verdict

QUERIES: Final = {
    "/console/exports/{twin}": {"format": "csv"},
    "/console/breaches/{name}/file": {"form": "csv"},
    "/console/consistency": {"old": "1"},
}
"""What an address needs beside its path, to answer."""
NO_PAGES: Final = frozenset({"/console/sign-in/code"})
"""Shown in the middle of something only."""


@dataclass(frozen=True)
class Hospital:
    """A served node with something on every page, and a session of each of its people."""

    house: House
    url: str
    cookies: dict[str, str]
    examples: dict[str, dict[str, str]]
    """Values of the parameters in a page's path, by its first part after /console. A page without is told below."""


@dataclass(frozen=True)
class Shown:
    """A page, and who may see it: nobody, for one that strangers see."""

    path: str
    person: str
    template: str
    """As the route table has it."""


@contextmanager
def furnished(home: Path) -> Iterator[Hospital]:
    """Make such a hospital in a new home, and serve it."""
    house = build(home)
    node = house.node
    context = AccessContext(node.accounts.named("officer"), Purpose.COMPLIANCE)
    node.account_desk.add_patient("ann", "Ann", PASSWORD, house.twins[0], context)
    permit = permit_to_examine(node.access, context, "breach")
    case = node.breaches.open(permit, Scope(ScopeKind.PATIENT, twin=house.twins[0]), "Letters to a wrong address", None)
    node.breaches.assess(permit, case.name)
    letters = AccessContext(context.principal, Purpose.PATIENT_REQUEST)
    erased = node.erasure_desk.propose(letters, house.twins[1], (), "the patient asked for it by letter")
    node.erasure_desk.approve(AccessContext(SYSTEMS["officer"], Purpose.COMPLIANCE), erased.name)
    node.erasure_desk.carry_on()
    node.erasure_desk.propose(letters, house.twins[2], {Category.LABS}, "these results are of another patient")
    digest = _studies(house)
    request = _contacts(house, context)
    _questions(house, permit)
    node.audit.checkpoint_and_anchor()
    assert node.log_check.run().fault == ""
    ward = an_hour_of_it(house)
    equip(house)
    break_down(house)
    lend(house)
    _sums(house)
    people = {"officer": PASSWORD, "ann": PASSWORD, "nurse": NIGHT_PASSWORD, "olive": PASSWORD}
    cookies = {name: node.sign_ins.by_password(name, password) for name, password in people.items()}
    examples = {
        "accesses": {"index": "12"},
        "accounts": {"account": "nurse"},
        "breaches": {"name": case.name, "form": "pdf"},
        "contacts": {"name": request},
        "erasures": {"name": erased.name},
        "outside": {"vendor": "acme"},
        "exports": {"twin": house.twins[0], "form": "pdf"},
        "my": {"form": "pdf"},
        "policy": {"name": "0" * 16},
        "proofs": {"index": "12"},
        "reviews": {"day": "2026-01-01"},
        "studies": {"digest": digest},
        "things": {"name": "icu"},
        "ward": {"twin": ward},
        "{rest:path}": {"rest:path": "nowhere"},
    }
    with served(house) as url:
        yield Hospital(house, url, cookies, examples)
    node.close()


def _questions(house: House, permit: Permit) -> None:
    """The night nurse is asked about an access; Dr. Lee was, and answered."""
    node, nurse, officer = house.node, house.node.accounts.named("nurse"), permit.request.principal
    house.read(nurse, house.twins[0], Category.LABS)
    visits = node.reviews.day(permit, day_of(node.clock.now_ms())).suspects
    for who in (nurse, CLINICIAN):
        index = next(one.visit.index for one in visits if one.visit.agent == who.id)
        node.reviews.find(permit, officer, index, Verdict.ASKED, "What did you open this record for?")
        if who is CLINICIAN:
            node.reviews.answer(who, index, "I was called to a consult; the ward forgot to note it.")


def _contacts(house: House, officer: AccessContext) -> str:
    """A contact request that waits; and another one that was approved, so that Ann was told of a study."""
    node, vendor = house.node, Principal("rival", Role.VENDOR, "Rival")
    kept = AccessContext(officer.principal, Purpose.RECORD_MANAGEMENT)
    node.access.set_consents(kept, [(house.twins[0], (SIMILARITY_YES, CHOICES["contact"]))])
    names = []
    for number in range(2):  # what they disclose is checked before the desk has them
        question = FeasibilityQuestion(epoch=1, epsilon_millis=250, bundle=b"counted", query_id=f"{number:032x}")
        proposal = ContactProposal(
            count=question,
            secret=bytes(32),
            criteria=Criteria.of({"include": [{"feature": "age", "known": True, "unknown": "include"}]}),
            title="A study of blood pressure",
            purpose="to find out whether a medicine helps",
            text="We look for people with high blood pressure.\n\nTwo visits. Saying no costs you nothing.",
        )
        names.append(node.contacts.propose(vendor, proposal).name)
    node.contacts.approve(officer, names[1], "the ethics board agreed")
    node.contacts.carry_on()
    assert node.contacts.invitations(house.twins[0])
    return names[0]


def _studies(house: House) -> str:
    """An invitation that waits, and what two studies took of the budget."""
    node, hospitals = house.node, house.node.settings.witnesses
    for name in hospitals:
        node.consortium.cap_privacy(name, COHORT, 1_000_000)
    budget = HeldKeysBudget(node.consortium.budgets, node.consortium.keys)
    for number in (1, 2):
        budget.reserve(bytes([number]) * 32, hospitals, 100_000 * number)
    by = AccessContext(SYSTEMS["researcher"], Purpose.RESEARCH)
    return digest_of(invite(node, StudyProtocol.for_dp_var("every-page-1", hospitals), (), by))


def _sums(house: House) -> None:
    """Eight weeks of daily sums, in which an outbreak begins."""
    draws = np.random.default_rng(1)
    counts = background(Epidemic(), 56, draws)
    counts[14:] += cases(Epidemic(), 42, draws)
    Region(house.node).kept_sums([int(one) for one in counts])


def pages_of(hospital: Hospital) -> tuple[Shown, ...]:
    """Each address of the console that answers a GET with a page, with the first of the people who is shown it."""
    app = create_app(hospital.house.node)
    mount(app, hospital.house.node)
    found = []
    for route in api_routes(app.routes):
        if route.path.startswith(PATH) and "GET" in (route.methods or ()):
            found += _shown(hospital, route.path)
    assert len(found) > 20
    return tuple(found)


def _shown(hospital: Hospital, template: str) -> list[Shown]:
    values = hospital.examples.get(template.removeprefix(f"{PATH}/").partition("/")[0], {})
    missing = set(re.findall(r"{([^}]+)}", template)) - set(values)
    assert not missing, f"{template}: give {missing} a value in the fixture hospital's examples"
    path = re.sub(r"{([^}]+)}", lambda one: values[one[1]], template)
    refused = []
    for person in ("", *hospital.cookies):
        sent = {SESSION_COOKIE: hospital.cookies[person]} if person else {}
        answer = httpx.get(hospital.url + path, cookies=sent, params=QUERIES.get(template, {}), timeout=60)
        is_page = answer.headers.get("content-type", "").startswith("text/html")
        if is_page and answer.status_code in (200, 404):
            return [Shown(path, person, template)]
        if answer.status_code == 200:
            return []  # a file, or what a script asks for
        refused.append(answer.status_code)
    assert template in NO_PAGES, f"{template} is shown to nobody ({refused}): give it what it needs in QUERIES"
    return []
