"""The history of a type and of everything, over HTTP: what was written, by whom it may be seen, page by page."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import TENANT, Hospital
from tests.integration.fhir.test_fhir_search_across import pages
from tests.integration.fhir.web import PEOPLE, outcome, principal_of, send
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext
from twinward.api.fhir import fhir_router
from twinward.core.clock import iso
from twinward.core.vocabulary import Action, Category, Purpose
from twinward.fhir.validation.validator import validate
from twinward.twins.errors import TooMuchAtOnce
from twinward.twins.read.changes import Bounds, Changes, Wanted
from twinward.vault.segments.compaction import LEAST, Compactor

Entry = tuple[int, str, int, str]
"""Moment, reference, version, method."""

KIM = PEOPLE["colleague"]


class Ward:
    """Three patients; what was written to them is remembered in plain."""

    def __init__(self, house: Hospital, more: int = 0) -> None:
        app = FastAPI()
        app.include_router(fhir_router(house.fhir, principal_of))
        self.house, self.web = house, TestClient(app, raise_server_exceptions=False)
        self.written: list[Entry] = []
        for name in ("a", "b", "c"):
            self.put("Patient", name, {"gender": "female"})
            for number, category in enumerate(("laboratory", "vital-signs")):
                self.put("Observation", f"{name}{number}", observation(name, category))
        for number in range(more):
            self.put("Observation", f"a1{number}", observation("a", "laboratory"))
        self.put("Organization", "h", {"name": "St Anna"})
        self.put("Observation", "a0", observation("a", "laboratory", "amended"))
        self.put("Observation", "b1", observation("b", "vital-signs", "amended"))
        self.delete("Observation", "a1")
        self.put("Observation", "c0", observation("c", "laboratory", "amended"))
        self.put("Patient", "a", {"gender": "other"})
        house.consent(house.twins.find("Patient/b"), Provision(effect="deny", actors=(KIM.id,)))
        no = Provision(effect="deny", actors=(KIM.id,), categories=(Category.LABS,))
        house.consent(house.twins.find("Patient/c"), no)

    def put(self, kind: str, name: str, body: dict[str, Any]) -> None:
        answer = send(self.web, "PUT", f"/{kind}/{name}", content=json.dumps(body | {"resourceType": kind, "id": name}))
        assert answer.status_code in (200, 201), answer.text
        self._note(kind, name, answer, "PUT")

    def delete(self, kind: str, name: str) -> None:
        self._note(kind, name, send(self.web, "DELETE", f"/{kind}/{name}"), "DELETE")

    def _note(self, kind: str, name: str, answer: Any, method: str) -> None:
        version = int(answer.headers["etag"].strip('W/"'))
        self.written.append((self.house.clock.now_ms(), f"{kind}/{name}", version, method))
        self.house.clock.advance(1000)

    def seen_by(self, who: str, kind: str = "") -> list[Entry]:
        """What somebody may see, newest first."""
        hidden = ("Patient/b", "Observation/b", "Observation/c0") if who == "colleague" else ()
        return [
            one
            for one in reversed(self.written)
            if one[1].startswith(f"{kind}/" if kind else "") and not one[1].startswith(hidden)
        ]


def observation(patient: str, category: str, status: str = "final") -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "status": status,
        "category": [{"coding": [{"system": system, "code": category}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "2345-7"}]},
        "subject": {"reference": f"Patient/{patient}"},
    }


@pytest.fixture(scope="module", params=["rows", "segments"])
def ward(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ward]:
    house = Hospital(tmp_path_factory.mktemp("history"))
    ward = Ward(house, LEAST if request.param == "segments" else 0)
    if request.param == "segments":
        report = Compactor(house.store, house.keyring, house.clock, TENANT).run()
        assert report.rows > 0
    yield ward
    house.close()


def told(bundle: dict[str, Any]) -> list[Entry]:
    found = []
    for one in bundle.get("entry", []):
        answer = one["response"]
        at_ms = _ms(answer["lastModified"])
        reference, version = one["request"]["url"], int(answer["etag"].strip('W/"'))
        found.append((at_ms, reference, version, one["request"]["method"]))
        assert one["fullUrl"].endswith(reference)
        assert ("resource" in one) == (one["request"]["method"] == "PUT")
        assert answer["status"][:3] == ("204" if "resource" not in one else "201" if version == 1 else "200")
    return found


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize("who", ["clinician", "colleague"])
@pytest.mark.parametrize("kind", ["", "Observation", "Patient", "Organization", "Condition"])
@pytest.mark.parametrize("count", [1, 2, 50])
def test_everything_that_may_be_seen_is_told_once_newest_first(ward: Ward, who: str, kind: str, count: int) -> None:
    found: list[Entry] = []
    address = f"/{kind}/_history" if kind else "/_history"
    for bundle in pages(ward.web, f"{address}?_count={count}", who):
        assert (bundle["type"], bundle.get("total")) == ("history", None)
        found += told(bundle)
    assert found == ward.seen_by(who, kind)
    for asked in ("_count=0", "_summary=count"):
        counted = send(ward.web, "GET", f"{address}?{asked}", who).json()
        assert (counted["total"], counted.get("entry")) == (len(found), None)


@pytest.mark.parametrize("who", ["clinician", "colleague"])
def test_since_and_at_choose_by_moment(ward: Ward, who: str) -> None:
    seen = ward.seen_by(who)
    for at_ms, *_ in ward.written[-6:]:
        [bundle] = pages(ward.web, f"/_history?_since={iso(at_ms)}", who)
        assert told(bundle) == [one for one in seen if one[0] >= at_ms]
        # Current in that millisecond: stored by then, and not yet followed by another version, seen or not.
        [bundle] = pages(ward.web, f"/_history?_at={iso(at_ms)}", who)
        right = [
            one
            for one in seen
            if one[0] <= at_ms
            and not any(two[1] == one[1] and two[2] == one[2] + 1 and two[0] <= at_ms for two in ward.written)
        ]
        assert told(bundle) == right
    [bundle] = pages(ward.web, "/Observation/_history?_at=2026", who)
    assert told(bundle) == ward.seen_by(who, "Observation")
    [bundle] = pages(ward.web, "/Observation/_history?_at=2025", who)
    assert told(bundle) == []
    assert _paged(ward, f"/_history?_at={iso(at_ms)}&_count=1", who) == right
    for at_ms, *_ in ward.written[-6::2]:
        [bundle] = pages(ward.web, f"/Observation/_history?_at={iso(at_ms)}", who)
        alone = send(ward.web, "GET", f"/Observation/a0/_history?_at={iso(at_ms)}", who).json()
        assert told(alone) == [one for one in told(bundle) if one[1] == "Observation/a0"]


def _paged(ward: Ward, url: str, who: str) -> list[Entry]:
    return [one for bundle in pages(ward.web, url, who) for one in told(bundle)]


def test_pages_stay_while_more_is_written(tmp_path: Any) -> None:
    house = Hospital(tmp_path)
    ward = Ward(house)
    first = next(pages(ward.web, "/Observation/_history?_count=3", "clinician"))
    before = ward.seen_by("clinician", "Observation")
    ward.put("Observation", "a0", observation("a", "laboratory", "corrected"))
    ward.delete("Observation", "b1")
    url = first["link"][1]["url"].partition("/fhir")[2]
    assert told(first) + _paged(ward, url, "clinician") == before
    house.close()


def test_each_patient_is_decided_and_only_what_a_page_needs_is_opened(ward: Ward) -> None:
    house = ward.house
    twins = {name: house.twins.find(f"Patient/{name}") for name in "abc"}
    before = len(house.trail.events)
    assert len(list(pages(ward.web, "/Observation/_history", "colleague"))) == 1
    events = house.trail.events[before:]
    assert {(one.twin, one.decision) for one in events} == {
        (twins["a"], "permit"),
        (twins["b"], "deny"),
        (twins["c"], "permit"),
    }
    assert {one.action for one in events} == {Action.SEARCH}
    assert {dict(one.detail)["history"] for one in events} == {"Observation"}
    assert all(set(one.categories) <= {Category.LABS, Category.VITALS} for one in events)
    before = len(house.trail.events)
    next(pages(ward.web, "/Patient/_history?_count=1", "clinician"))
    assert len({one.twin for one in house.trail.events[before:]}) <= 2
    assert send(ward.web, "GET", "/Patient/_history", "vendor").status_code == 403
    assert send(ward.web, "GET", "/_history", "nobody").status_code == 401


def test_a_page_says_nothing_of_who_is_refused(ward: Ward) -> None:
    """No cursor points to it, no next page comes of it, and what a page shows does not depend on it."""
    seen = ward.seen_by("colleague", "Observation")
    [bundle] = pages(ward.web, f"/Observation/_history?_count={len(seen)}", "colleague")
    assert told(bundle) == seen
    assert [one["relation"] for one in bundle["link"]] == ["self"]


@pytest.mark.parametrize("door", ["alone", "batch"])
@pytest.mark.parametrize(
    "query",
    [
        "_sort=_lastUpdated",
        "_list=x",
        "_type=Patient",
        "_at=yesterday",
        "_since=x",
        "_count=-1",
        "_cursor=x",
        "code=x",
        "_at=2024&_at=2025",
        "_since:missing=true",
        f"_cursor={urlsafe_b64encode(b'1/x/1').decode().rstrip('=')}",
    ],
)
def test_what_is_not_served_is_refused_by_name(ward: Ward, query: str, door: str) -> None:
    for address in ("_history", "Patient/_history"):
        if door == "alone":
            answer = send(ward.web, "GET", f"/{address}?{query}")
            assert answer.status_code == 400
            outcome(answer)
            continue
        entry = {"request": {"method": "GET", "url": f"{address}?{query}"}}
        batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
        answer = send(ward.web, "POST", "", content=json.dumps(batch)).json()["entry"][0]
        assert answer["response"]["status"].startswith("400")


def test_a_batch_answers_as_the_address_does(ward: Ward) -> None:
    for address in ("_history?_count=2", "Observation/_history?_count=2"):
        batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": address}}]}
        answer = send(ward.web, "POST", "", content=json.dumps(batch)).json()["entry"][0]
        assert answer["resource"] == send(ward.web, "GET", f"/{address}").json()
    assert send(ward.web, "GET", "/Nonsense/_history").status_code == 404


def test_a_part_of_each_is_marked_as_one(ward: Ward) -> None:
    bundle = send(ward.web, "GET", "/Observation/_history?_elements=status&_count=1").json()
    validate(bundle)
    assert set(bundle["entry"][0]["resource"]) <= {"resourceType", "id", "meta", "status", "code"}


def test_what_was_shredded_is_in_no_history(tmp_path: Any) -> None:
    house = Hospital(tmp_path)
    ward = Ward(house)
    house.keyring.shred(house.twins.find("Patient/a"))
    assert {one[1][-2] for one in _paged(ward, "/Observation/_history?_count=2", "clinician")} == {"b", "c"}
    house.close()


def test_a_history_that_would_look_at_too_much_is_refused(ward: Ward) -> None:
    house, purpose = ward.house, Purpose.TREATMENT
    wanted = Wanted(frozenset({"Observation"}))
    for bounds in (Bounds(seconds=-1), Bounds(twins=0)):
        changes = Changes(house.vault, house.access, bounds)
        with pytest.raises(TooMuchAtOnce, match="at most"):
            changes.page(AccessContext(PEOPLE["clinician"], purpose), wanted, 5)
    changes = Changes(house.vault, house.access, Bounds(twins=2))
    found, after = changes.page(AccessContext(PEOPLE["clinician"], purpose), wanted, 1)
    assert (len(found), after is None) == (1, False)
    with pytest.raises(TooMuchAtOnce, match="2 patients"):
        changes.count(AccessContext(PEOPLE["clinician"], purpose), wanted)
