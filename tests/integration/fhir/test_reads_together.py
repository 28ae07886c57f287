"""Many reads at once: each comes to what it comes to by itself, is logged as that, and outlasts nothing withdrawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.fhir.hospital import CLINICIAN, OFFICER, RESEARCHER, SYSTEM, TENANT, VENDOR, Hospital, Trail
from tests.integration.fhir.web import PATIENT, send
from twinward.access.accounts import Accounts
from twinward.access.consent import Provision
from twinward.access.errors import AccessDenied, PermitWithdrawn, SignInEnded
from twinward.access.interfaces import AccessContext, Principal
from twinward.access.permits import PermitAuthority
from twinward.access.policy import Policy
from twinward.access.service import Access
from twinward.audit.errors import LogNotWritten
from twinward.audit.models import AccessEvent, LoggedEvent
from twinward.core.errors import TwinwardError, outcome_of
from twinward.core.vocabulary import Category, Purpose, Role, TwinId
from twinward.fhir.mapping.categories import ReleaseByContent
from twinward.fhir.rest.service import FhirService
from twinward.twins import references as names
from twinward.twins.errors import RecordNotFound
from twinward.twins.models import ImportRecord, PatientImport
from twinward.twins.read import each
from twinward.twins.service import Twins
from twinward.vault.interfaces import Record
from twinward.vault.service import Vault

ICD10 = "http://hl7.org/fhir/sid/icd-10"
MANAGING = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)
PATIENTS = "yes", "no", "shredded"
KEPT = {
    "Patient": Category.DEMOGRAPHICS,
    "Observation": Category.LABS,
    "Condition": Category.PSYCHIATRY,
    "Procedure": Category.CONDITIONS,
}
REFERENCES = (*(f"{kind}/{name}" for kind in KEPT for name in PATIENTS), "Patient/nobody", "Observation/nothing")
WHO = (CLINICIAN, OFFICER, RESEARCHER, VENDOR, Principal("dr-no", Role.CLINICIAN, "\ud800"))
WHY = (
    (Purpose.TREATMENT, ""),
    (Purpose.RESEARCH, ""),
    (Purpose.EMERGENCY, ""),
    (Purpose.EMERGENCY, "found unconscious in front of the house"),
    (Purpose.TREATMENT, "a surrogate \ud800 is not Unicode"),
)


def filled(folder: Path) -> Hospital:
    """Three patients: one who is read, one who said no to laboratories, one whose laboratories were shredded."""
    house = Hospital(folder)
    twins: dict[str, TwinId] = {}
    for name in PATIENTS:
        kept = [
            ImportRecord(f"{kind}/{name}", kind, category, names.DELETED if kind == "Procedure" else b'{"of":"it"}')
            for kind, category in KEPT.items()
        ]
        twins[name] = house.twins.ingest(MANAGING, PatientImport(f"Patient/{name}", tuple(kept))).twin
    house.consent(twins["no"], Provision(effect="deny", categories=(Category.LABS,)))
    house.keyring.shred(twins["shredded"], {Category.LABS})
    return house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    made = filled(tmp_path_factory.mktemp("together"))
    yield made
    made.close()


def told(outcome: object) -> object:
    """What came of a read, without where it was logged."""
    return (type(outcome), str(outcome)) if isinstance(outcome, TwinwardError) else outcome


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(WHO), st.sampled_from(WHY), st.sampled_from(REFERENCES)), min_size=1, max_size=20
    )
)
def test_each_comes_to_what_it_comes_to_by_itself_and_is_logged_as_that(
    house: Hospital, drawn: list[tuple[Principal, tuple[Purpose, str], str]]
) -> None:
    asked = [(AccessContext(who, *why), reference) for who, why, reference in drawn]
    events = house.trail.events
    before = len(events)
    alone = [outcome_of(partial(house.twins.read_reference, *one)) for one in asked]
    by_itself, before = events[before:], len(events)
    together = house.twins.read_each(asked)
    assert list(map(told, together)) == list(map(told, alone))
    assert sorted(map(repr, events[before:])) == sorted(map(repr, by_itself))
    for outcome, (context, _) in zip(together, asked, strict=True):
        if isinstance(outcome, AccessDenied):
            assert events[outcome.log_index - house.trail.log.store.size()].agent == context.principal.id


def test_what_many_read_is_one_step_of_the_log(house: Hospital) -> None:
    appends: list[int] = []
    through = Twins(house.vault, house.store, _access(house, Noting(house.trail, appends.append)), house.clock)
    through.read_each([(AccessContext(CLINICIAN, Purpose.TREATMENT), "Patient/yes")] * 9)
    assert appends == [9]


def test_nothing_is_opened_where_the_log_cannot_be_written(house: Hospital) -> None:
    def full(_count: int) -> None:
        raise LogNotWritten("no space left")

    through = Twins(Unopened(house), house.store, _access(house, Noting(house.trail, full)), house.clock)
    read = through.read_each([(AccessContext(CLINICIAN, Purpose.TREATMENT), "Patient/yes")] * 3)
    assert [type(one) for one in read] == [LogNotWritten] * 3


def test_an_emergency_among_them_goes_on_while_the_log_cannot_be_written(house: Hospital) -> None:
    class Journal:
        def record_emergency(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
            return house.trail.record(events)

    def full(_count: int) -> None:
        raise LogNotWritten("no space left")

    access = _access(house, Noting(house.trail, full), emergency=Journal())
    usual = AccessContext(CLINICIAN, Purpose.TREATMENT)
    urgent = AccessContext(CLINICIAN, Purpose.EMERGENCY, "found unconscious in front of the house")
    read = Twins(house.vault, house.store, access, house.clock).read_each(
        [(usual, "Patient/yes"), (urgent, "Patient/yes"), (usual, "Patient/no")]
    )
    assert [type(one) for one in read] == [LogNotWritten, Record, LogNotWritten]


class Noting:
    """A hospital's trail, and what happens once events are in it, before whoever logged them goes on."""

    def __init__(self, trail: Trail, then: Callable[[int], None]) -> None:
        self._trail, self._then = trail, then

    def record(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        logged = self._trail.record(events)
        self._then(len(events))
        return logged


class Unopened(Vault):
    """A vault that is not to be read."""

    def __init__(self, house: Hospital) -> None:
        super().__init__(house.store, house.keyring, house.authority, house.clock, house.vault._tenant)

    def read(self, *_: Any, **_bounded: Any) -> Record:
        raise AssertionError("opened")


class Opening(Vault):
    """A hospital's vault, and what happens before it opens a record."""

    def __init__(self, house: Hospital, first: Callable[[Record], None]) -> None:
        super().__init__(house.store, house.keyring, house.authority, house.clock, house.vault._tenant)
        self._first = first

    def read(self, *permitted: Any, **bounded: Any) -> Record:
        record = super().read(*permitted, **bounded)
        self._first(record)
        return record


def test_what_nobody_expected_of_one_is_told_to_it_alone_and_nothing_is_logged_twice(house: Hospital) -> None:
    def break_at(record: Record) -> None:
        if record.record_type == "Condition":
            raise ZeroDivisionError

    context = AccessContext(CLINICIAN, Purpose.TREATMENT)
    through = Twins(Opening(house, break_at), house.store, house.access, house.clock)
    house.consent(house.twins.find("Patient/yes"), Provision(effect="permit", categories=(Category.PSYCHIATRY,)))
    before = len(house.trail.events)
    read = through.read_each([(context, one) for one in ("Patient/yes", "Condition/yes", "Patient/no")])
    assert [type(one) for one in read] == [Record, ZeroDivisionError, Record]
    assert len(house.trail.events) - before == 3


def test_a_large_record_keeps_nobody_who_was_taken_along_and_is_opened_as_it_stands_then(tmp_path: Path) -> None:
    house, opened = filled(tmp_path), list[str]()
    content = json.dumps({"note": "x" * each.LARGE_BYTES}).encode()
    for name in ("yes", "no"):
        large = ImportRecord(f"Procedure/large-{name}", "Procedure", Category.CONDITIONS, content)
        house.twins.ingest(MANAGING, PatientImport(f"Patient/{name}", (large,)))
    context = AccessContext(CLINICIAN, Purpose.TREATMENT)
    through = Twins(
        Opening(house, lambda record: opened.extend(record.references)), house.store, house.access, house.clock
    )
    before = len(house.trail.events)
    references = "Procedure/large-yes", "Patient/yes", "Procedure/large-no", "Patient/no", "Patient/nobody"
    read = through.read_each([(context, one) for one in references])
    assert opened == ["Patient/yes", "Patient/no"]
    assert [type(one) for one in read] == [each.Unopened, Record, each.Unopened, Record, RecordNotFound]
    assert len(house.trail.events) - before == len(references)
    house.consent(house.twins.find("Patient/no"), Provision(effect="deny"))
    logged = len(house.trail.events)
    left = [outcome_of(one.open) for one in read if isinstance(one, each.Unopened)]
    assert [one.content if isinstance(one, Record) else type(one) for one in left] == [content, PermitWithdrawn]
    assert len(house.trail.events) == logged
    house.close()


def _access(house: Hospital, trail: Noting, **more: Any) -> Access:
    return Access(Policy.load(), house._consents, trail, house.authority, house.clock, **more)


def test_what_another_process_withdraws_during_the_wait_for_the_log_opens_nothing(tmp_path: Path) -> None:
    house = filled(tmp_path)
    other = Hospital(tmp_path, house.provider)
    twin = house.twins.find("Patient/yes")

    def withdraw(_count: int) -> None:
        other.consent(twin, Provision(effect="deny"))

    through = Twins(house.vault, house.store, _access(house, Noting(house.trail, withdraw)), house.clock)
    context = AccessContext(CLINICIAN, Purpose.TREATMENT)
    assert [type(one) for one in through.read_each([(context, "Patient/yes"), (context, "Patient/no")])] == [
        PermitWithdrawn,
        Record,
    ]
    other.close()
    house.close()


def test_who_is_disabled_in_another_process_during_the_wait_for_the_log_is_shown_nothing(tmp_path: Path) -> None:
    house = filled(tmp_path)
    one, other = (Accounts(tmp_path / "accounts.db", house.clock, keys=house.keyring) for _ in range(2))
    who = [one.by_token(one.add_system(Principal(name, Role.CLINICIAN))) for name in ("leaves", "stays")]

    def disable(_count: int) -> None:
        other.noted("leaves", lambda record: record.ended(disabled=True))

    authority = PermitAuthority(house.clock, require_standing=one.require_standing)
    access = Access(
        Policy.load(),
        house._consents,
        Noting(house.trail, disable),
        authority,
        house.clock,
        require_standing=one.require_standing,
    )
    vault = Vault(house.store, house.keyring, authority, house.clock, TENANT)
    through = Twins(vault, house.store, access, house.clock)
    asked = [(AccessContext(principal, Purpose.TREATMENT), "Patient/yes") for principal in who]
    assert [type(read) for read in through.read_each(asked)] == [SignInEnded, Record]
    assert [type(read) for read in through.read_each(asked)] == [SignInEnded, Record]
    for opened in (one, other, house):
        opened.close()


def test_what_a_record_tells_besides_is_decided_on_the_consent_of_that_moment(tmp_path: Path) -> None:
    """Leave for more is asked for while records are opened: that waits for the log, too, and so ends the look."""
    house = filled(tmp_path)
    other = Hospital(tmp_path, house.provider)
    twin = house.twins.find("Patient/yes")
    house.consent(twin, Provision(effect="permit", categories=(Category.PSYCHIATRY,)))
    text = json.dumps({"resourceType": "Condition", "code": {"coding": [{"system": ICD10, "code": "F32.1"}]}})
    told = ImportRecord("Condition/more", "Condition", Category.CONDITIONS, text.encode())
    house.twins.ingest(MANAGING, PatientImport("Patient/yes", (told,)))
    appends: list[int] = []

    def withdraw(count: int) -> None:
        appends.append(count)
        if len(appends) == 2:
            other.consent(twin, Provision(effect="deny"))

    access = _access(house, Noting(house.trail, withdraw))
    vault = Vault(house.store, house.keyring, house.authority, house.clock, TENANT, ReleaseByContent(access))
    (read,) = Twins(vault, house.store, access, house.clock).read_each(
        [(AccessContext(CLINICIAN, Purpose.TREATMENT), "Condition/more")]
    )
    assert (type(read), len(appends)) == (PermitWithdrawn, 2)
    other.close()
    house.close()


def test_large_records_and_emergencies_are_answered_over_http_as_ever(
    own_web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(each, "LARGE_BYTES", 1)
    for number in range(8):
        body = json.dumps(PATIENT | {"id": f"p{number}"})
        assert send(own_web, "PUT", f"/Patient/p{number}", "system", content=body).status_code == 201

    def read(number: int) -> Any:
        why = {"x-purpose-of-use": "ETREAT", "x-justification": "found unconscious in front of the house"}
        headers = {"if-none-match": 'W/"1"'} if number % 3 == 0 else why if number % 3 == 1 else {}
        return send(own_web, "GET", f"/Patient/p{number % 9}", headers=headers)

    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(read, range(27)))
    for number, answer in enumerate(answers):
        if number % 9 == 8:
            assert answer.status_code == 404
        elif number % 3 == 0:
            assert (answer.status_code, answer.content) == (304, b"")
        else:
            assert (answer.status_code, answer.json()["id"]) == (200, f"p{number % 9}")


def test_an_emergency_waits_for_nobody_who_reads_beside_it(
    own_web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert send(own_web, "PUT", f"/Patient/{PATIENT['id']}", "system", content=json.dumps(PATIENT)).status_code == 201
    begun, go, usual = Event(), Event(), FhirService.read_each

    def held_up(service: FhirService, asked: Sequence[tuple[AccessContext, str]]) -> list[each.Opened | Exception]:
        begun.set()
        assert go.wait(30)
        return usual(service, asked)

    monkeypatch.setattr(FhirService, "read_each", held_up)
    why = {"x-purpose-of-use": "ETREAT", "x-justification": "found unconscious in front of the house"}
    with ThreadPoolExecutor(2) as pool:
        waits = pool.submit(send, own_web, "GET", f"/Patient/{PATIENT['id']}")
        assert begun.wait(30)
        urgent = pool.submit(send, own_web, "GET", f"/Patient/{PATIENT['id']}", headers=why)
        try:
            assert urgent.result(20).status_code == 200
        finally:
            go.set()
        assert waits.result(30).status_code == 200
