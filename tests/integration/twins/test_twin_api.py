"""The twin API in Ditto's shape, over TCP against the real node: every answer here came out of uvicorn."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.console.fixtures import OFFICER, House, build
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext
from twinward.audit.events import codec
from twinward.audit.models import AccessEvent
from twinward.core.vocabulary import Category, Purpose, Role
from twinward.demo.serving import served
from twinward.twins.state.states import category_of
from twinward.twins.state.targets import merge_patch

JSON, MERGE = "application/json", "application/merge-patch+json"
GOAL = {"value": {"low": 6.0, "high": 7.0}, "note": "by autumn"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("twins") / "home", patients=4)
    yield built
    built.node.close()


@pytest.fixture(scope="module")
def url(house: House) -> Iterator[str]:
    with served(house.node) as base:
        yield f"{base}/api/1/twins"


@pytest.fixture(scope="module")
def web(house: House, url: str) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {house.tokens['clinician']}"}
    with httpx.Client(base_url=url, headers=headers, timeout=20) as client:
        yield client


def target(twin: str, feature: str = "hba1c_percent", rest: str = "") -> str:
    return f"/{twin}/features/{feature}/desiredProperties{rest}"


def every(web: httpx.Client) -> str:
    return str(web.base_url).rstrip("/")


def put(web: httpx.Client, path: str, body: Any, **headers: str) -> httpx.Response:
    return web.put(path, content=json.dumps(body), headers={"content-type": JSON, **headers})


def patch(web: httpx.Client, path: str, body: Any, **headers: str) -> httpx.Response:
    return web.patch(path, content=json.dumps(body), headers={"content-type": MERGE, **headers})


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    assert said["type"] == f"urn:twinward:problem:{kind}"
    assert said["error"]["message"]
    error: dict[str, str] = said["error"]
    return error


def events_since(house: House, before: int) -> list[AccessEvent]:
    entries = range(before, house.size())
    opened = [house.node.audit.sealer.open(index, house.node.log.store.entry(index))[1] for index in entries]
    return [codec.decode(one.event, house.node.log.origin) for one in opened if one is not None]


def test_a_twin_is_shown_as_a_thing_with_measured_features(house: House, web: httpx.Client) -> None:
    twin = house.twins[0]
    before = house.size()
    answer = web.get(f"/{twin}")
    assert answer.status_code == 200
    shown = answer.json()
    assert set(shown) == {"twinId", "attributes", "features", "_revision", "_modified"}
    assert (shown["twinId"], shown["attributes"]["withheld"]) == (twin, [])
    bmi = shown["features"]["bmi"]["properties"]
    assert set(bmi) == {"value", "unit", "measuredAt", "source"}
    assert bmi["unit"] == "kg/m2"
    assert bmi["source"]["codes"] == ["http://loinc.org|39156-5"]
    assert web.get(f"/{twin}/features").json() == shown["features"]
    assert web.get(f"/{twin}/features/bmi").json() == shown["features"]["bmi"]
    assert web.get(f"/{twin}/features/bmi/properties").json() == bmi
    assert web.get(f"/{twin}/features/bmi/properties/unit").json() == "kg/m2"
    assert web.get(f"/{twin}/features/bmi/properties/source/version").json() == bmi["source"]["version"]
    assert house.size() == before + 6, "each read is one access"


def test_what_is_not_there_is_told_to_those_who_may_read_only(house: House, web: httpx.Client, url: str) -> None:
    twin, nobody = house.twins[0], "00000000-0000-7000-8000-000000000000"
    for path in (f"/{nobody}", f"/{nobody}/features", f"/{nobody}/features/bmi", f"/{nobody}/features/bmi/properties"):
        problem(web.get(path), 404, "TwinNotFound")
    problem(web.get(f"/{twin}/features/no_such"), 404, "NotFound")
    problem(web.get(f"/{twin}/features/bmi/properties/no/such"), 404, "NotFound")
    problem(web.get(target(twin, "sodium_mmol_l")), 404, "NotFound")
    problem(web.get("/not-a-twin"), 400, "BadInput")
    vendor = {"authorization": f"Bearer {house.tokens['vendor']}"}
    for one in (nobody, twin):
        refused = httpx.get(f"{url}/{one}", headers=vendor)
        problem(refused, 403, "AccessDenied")
        assert refused.json() == httpx.get(f"{url}/{nobody}", headers=vendor).json(), (
            "a stranger learns nothing of who is kept"
        )


def test_a_target_is_set_merged_and_deleted_and_stays_in_history(house: House, web: httpx.Client) -> None:
    twin = house.twins[0]
    first = web.get(f"/{twin}").json()["_revision"]
    made = put(web, target(twin), GOAL)
    assert made.status_code == 201
    assert made.json() == {"_revision": first + 1}
    assert web.get(target(twin)).json() == GOAL
    assert web.get(target(twin)).headers["etag"] == made.headers["etag"]
    assert web.get(target(twin, rest="/value/high")).json() == 7.0

    merged = patch(web, target(twin), {"note": None, "value": {"high": 6.5}}, **{"if-match": made.headers["etag"]})
    assert merged.status_code == 204
    assert web.get(target(twin)).json() == {"value": {"low": 6.0, "high": 6.5}}
    member = put(web, target(twin, rest="/review/weeks"), 12, **{"if-match": merged.headers["etag"]})
    assert member.status_code == 204
    assert web.get(f"/{twin}").json()["features"]["hba1c_percent"]["desiredProperties"]["review"] == {"weeks": 12}
    cut = web.delete(target(twin, rest="/review/weeks"), headers={"if-match": member.headers["etag"]})
    assert cut.status_code == 204
    gone = web.delete(target(twin), headers={"if-match": cut.headers["etag"]})
    assert gone.status_code == 204
    problem(web.get(target(twin)), 404, "NotFound")
    problem(web.delete(target(twin), headers={"if-match": gone.headers["etag"]}), 412, "PreconditionFailed")
    problem(web.delete(target(twin)), 404, "NotFound")

    shown = web.get(f"/{twin}").json()
    assert shown["_revision"] == first + 5
    assert "desiredProperties" not in shown["features"]["hba1c_percent"]
    then = [web.get(target(twin), params={"at-revision": first + n}).json() for n in range(1, 5)]
    assert then[0] == GOAL
    assert then[1] == {"value": {"low": 6.0, "high": 6.5}}
    assert then[2]["review"] == {"weeks": 12}
    assert then[3]["review"] == {}


def test_history_has_many_names_and_one_meaning(house: House, web: httpx.Client) -> None:
    twin = house.twins[0]
    now = web.get(f"/{twin}").json()
    old = web.get(f"/{twin}", params={"at-historical-revision": 1}).json()
    assert old["_revision"] == 1
    assert old["_modified"] <= now["_modified"]
    assert web.get(f"/{twin}", headers={"at-historical-revision": "1"}).json() == old
    assert web.get(f"/{twin}", params={"at-revision": "1"}).json() == old
    for name in ("at-time", "at-historical-timestamp"):
        assert web.get(f"/{twin}", params={name: old["_modified"]}).json() == old
        assert web.get(f"/{twin}", headers={"at-historical-timestamp": old["_modified"]}).json() == old
    assert web.get(f"/{twin}", params={"at-time": "2099-01-01T00:00:00+02:00"}).json() == now
    problem(web.get(f"/{twin}", params={"at-time": "2001-01-01T00:00:00Z"}), 404, "RevisionNotFound")
    problem(web.get(f"/{twin}", params={"at-revision": now["_revision"] + 1}), 404, "RevisionNotFound")
    problem(web.get(f"/{twin}", params={"at-revision": 1, "at-time": old["_modified"]}), 400, "BadInput")
    for bad in ("0", "-1", "x", "9" * 30):
        problem(web.get(f"/{twin}", params={"at-revision": bad}), 400, "BadInput")
    for bad in ("yesterday", "2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00x", "9" * 30):
        problem(web.get(f"/{twin}", params={"at-time": bad}), 400, "BadInput")


def test_conditions_decide(house: House, web: httpx.Client) -> None:
    twin = house.twins[1]
    whole = web.get(f"/{twin}")
    known = web.get(f"/{twin}", headers={"if-none-match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert web.get(f"/{twin}", headers={"if-none-match": f'"x", {whole.headers["etag"]}'}).status_code == 304
    assert web.get(f"/{twin}", headers={"if-none-match": '"other"'}).status_code == 200
    narrowed = web.get(f"/{twin}", params={"fields": "twinId"}, headers={"if-none-match": whole.headers["etag"]})
    assert narrowed.status_code == 200, "another view is another representation"
    problem(web.get(f"/{twin}", headers={"if-none-match": "nonsense"}), 400, "BadInput")

    made = put(web, target(twin, "bmi"), {"value": 25}, **{"if-none-match": "*"})
    assert made.status_code == 201
    problem(put(web, target(twin, "bmi"), {"value": 24}), 428, "PreconditionRequired")
    problem(put(web, target(twin, "bmi"), {"value": 24}, **{"if-none-match": "*"}), 412, "PreconditionFailed")
    problem(put(web, target(twin, "bmi"), {"value": 24}, **{"if-match": '"old"'}), 412, "PreconditionFailed")
    problem(put(web, target(twin, "sodium_mmol_l"), {}, **{"if-match": '"any"'}), 412, "PreconditionFailed")
    again = put(web, target(twin, "bmi"), {"value": 25}, **{"if-match": made.headers["etag"]})
    assert (again.status_code, again.headers["etag"]) == (204, made.headers["etag"]), "the same again is no change"
    assert put(web, target(twin, "bmi"), {"value": 24}, **{"if-match": "*"}).status_code == 204
    assert web.get(f"/{twin}", headers={"if-none-match": whole.headers["etag"]}).status_code == 200


def test_of_many_changes_to_one_version_one_wins(house: House, web: httpx.Client) -> None:
    twin = house.twins[1]
    etag = put(web, target(twin, "egfr"), {"value": 0}).headers["etag"]
    answers: list[int] = []

    def change(number: int) -> None:
        answers.append(put(web, target(twin, "egfr"), {"value": number}, **{"if-match": etag}).status_code)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [204] + [412] * 7


def test_tags_are_strong_and_what_is_there_is_named(house: House, web: httpx.Client) -> None:
    twin = house.twins[2]
    path = target(twin, "sodium_mmol_l")
    made = put(web, path, {"value": 1}, **{"if-none-match": "*"})
    tag = made.headers["etag"]
    for headers, status in (
        ({"if-match": f"W/{tag}"}, 412),  # RFC 9110, section 13.1.1: compared strongly
        ({"if-none-match": '"another"'}, 428),  # true, and says nothing of what is there
        ({"if-none-match": f"W/{tag}"}, 412),
        ({"if-match": tag, "if-none-match": tag}, 412),
        ({"if-match": ""}, 400),
        ({"if-unmodified-since": "Thu, 01 Jan 2099 00:00:00 GMT"}, 400),
        ({"if-modified-since": "Thu, 01 Jan 2099 00:00:00 GMT"}, 400),
        ({"if-none-exist": "x"}, 400),
        ({"if-match": f'"x",{tag}'}, 204),
    ):
        assert put(web, path, {"value": 2}, **headers).status_code == status, headers
    whole = web.get(f"/{twin}").headers["etag"]
    assert web.get(f"/{twin}", headers={"if-none-match": f"W/{whole}"}).status_code == 304  # compared weakly
    assert web.get(f"/{twin}", headers={"if-match": '"x"'}).status_code == 412
    assert web.get(f"/{twin}", headers={"if-match": whole}).status_code == 200


def test_a_condition_on_a_target_that_fails_is_an_event(house: House, web: httpx.Client) -> None:
    path = target(house.twins[2], "ldl_mg_dl")
    tag = put(web, path, {"value": 1}, **{"if-none-match": "*"}).headers["etag"]
    for headers, told in (
        ({"if-match": '"x"'}, "other-version"),
        ({}, "other-version"),
        ({"if-match": tag}, "same-content"),
    ):
        before = house.size()
        put(web, path, {"value": 1}, **headers)
        assert ("answered", told) in [one for event in events_since(house, before) for one in event.detail]
    before = house.size()
    assert web.delete(target(house.twins[2], "glucose_mg_dl")).status_code == 404
    assert ("answered", "nothing-kept") in [one for event in events_since(house, before) for one in event.detail]


@pytest.mark.parametrize("field", ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"])
def test_what_a_write_does_not_look_at_it_refuses_by_name(house: House, url: str, field: str) -> None:
    headers = {"authorization": f"Bearer {house.tokens['officer']}", "content-type": JSON, field: "*"}
    with httpx.Client(base_url=url, headers=headers) as officer:
        refused = officer.put(f"/{house.twins[0]}/consent", content="[]")
        assert field in problem(refused, 400, "BadInput")["message"]
        refused = officer.post(f"{url.removesuffix('/twins')}/accounts/nobody/disable")
        assert field in problem(refused, 400, "BadInput")["message"]


def test_a_patch_of_the_features_changes_all_targets_or_none(house: House, web: httpx.Client) -> None:
    twin = house.twins[2]
    etag = web.get(f"/{twin}").headers["etag"]
    both = {"bmi": {"desiredProperties": {"value": 24}}, "glucose_mg_dl": {"desiredProperties": {"value": 100}}}
    problem(patch(web, f"/{twin}/features", both), 428, "PreconditionRequired")
    assert patch(web, f"/{twin}/features", both, **{"if-match": etag}).status_code == 204
    problem(patch(web, f"/{twin}/features", both, **{"if-match": etag}), 412, "PreconditionFailed")
    shown = web.get(f"/{twin}/features").json()
    assert shown["bmi"]["desiredProperties"] == {"value": 24}
    fresh = {"if-match": "*"}
    wrong = {"bmi": {"desiredProperties": {"value": 20}}, "egfr": {"properties": {"value": 1}}}
    assert "desiredProperties" in problem(patch(web, f"/{twin}/features", wrong, **fresh), 400, "BadInput")["message"]
    problem(patch(web, f"/{twin}/features", {"nope": {"desiredProperties": {}}}, **fresh), 400, "BadInput")
    assert web.get(f"/{twin}/features").json() == shown
    removal = {"bmi": {"desiredProperties": None}}
    assert patch(web, f"/{twin}/features", removal, **fresh).status_code == 204
    assert "desiredProperties" not in web.get(f"/{twin}/features/bmi").json()


@pytest.mark.parametrize(
    ("content", "media", "status"),
    [
        (b"[]", JSON, 400),
        (b"7", JSON, 400),
        (b"", JSON, 400),
        (b"{", JSON, 400),
        (b'{"a":1,"a":2}', JSON, 400),
        (b'{"a":NaN}', JSON, 400),
        (b'{"a":1e999}', JSON, 400),
        (b'{"a":' + b"9" * 5000 + b"}", JSON, 400),
        (b'{"a":"\\ud800"}', JSON, 400),
        (b'{"a":"\xff"}', JSON, 400),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", JSON, 400),
        (b'{"a":' * 9 + b"1" + b"}" * 9, JSON, 400),
        (b'{"a":"' + b"x" * 17_000 + b'"}', JSON, 400),
        (b'{"a":"' + b"x" * 70_000 + b'"}', JSON, 413),
        (b'{"a":1}', "text/plain", 415),
        (b'{"a":1}', MERGE, 415),
    ],
)
def test_a_body_that_is_no_target_changes_nothing(
    house: House, web: httpx.Client, content: bytes, media: str, status: int
) -> None:
    twin = house.twins[3]
    before = web.get(f"/{twin}").json()
    answer = web.put(target(twin, "heart_rate"), content=content, headers={"content-type": media})
    problem(answer, status, {413: "TooLarge", 415: "UnsupportedMedia"}.get(status, "BadInput"))
    assert web.get(f"/{twin}").json() == before


def test_what_was_measured_is_not_written(house: House, web: httpx.Client) -> None:
    for method in ("PUT", "PATCH", "DELETE"):
        answer = web.request(method, f"/{house.twins[0]}/features/bmi/properties/value", content=b"1")
        problem(answer, 405, "HttpError")
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_a_list_is_paged_and_opens_nothing_but_what_is_asked_for(house: House, web: httpx.Client) -> None:
    before = house.size()
    listed, cursor = [], ""
    while True:
        page = web.get(every(web), params={"option": "size(3)" + (f",cursor({cursor})" if cursor else "")}).json()
        assert 0 < len(page["items"]) <= 3
        listed += page["items"]
        cursor = page.get("cursor", "")
        if not cursor:
            break
    assert [one["twinId"] for one in listed] == sorted(house.twins)
    assert all(set(one) == {"twinId", "_revision", "_modified"} for one in listed)
    events = events_since(house, before)
    reads = ["read"] * len(house.twins)
    assert sorted(event.action for event in events) == [*reads, "search", "search"]
    assert all(event.detail == (("list", "outlines"), ("network", "outside")) for event in events)

    before = house.size()
    chosen = web.get(every(web), params={"fields": "twinId,features(bmi/properties(value,unit),age)"}).json()["items"]
    assert all(set(one["features"]["bmi"]["properties"]) == {"value", "unit"} for one in chosen)
    assert all(set(one["features"]) <= {"bmi", "age"} for one in chosen)
    assert [event.action for event in events_since(house, before)] == ["search"] + ["read"] * len(house.twins)
    for option in ("size(0)", "size(201)", "size(x)", "cursor(%)", "nonsense", "size(3)cursor(a)"):
        problem(web.get(every(web), params={"option": option}), 400, "BadInput")
    for fields in ("a,,b", "(", "a(b", "a)", "a//b", "a(" * 30, ","):
        problem(web.get(every(web), params={"fields": fields}), 400, "BadInput")


def test_whom_one_may_not_see_is_not_listed_and_leaves_no_gap(house: House, web: httpx.Client) -> None:
    hidden = sorted(house.twins)[1]
    others = [one for one in sorted(house.twins) if one != hidden]
    house.node.access.set_consents(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT),
        [(hidden, (Provision(effect="deny", roles=(Role.CLINICIAN,)),))],
    )
    try:
        before = house.size()
        for fields in ("", "twinId", "twinId,features"):
            first = web.get(every(web), params={"option": "size(2)", "fields": fields}).json()
            assert [one["twinId"] for one in first["items"]] == others[:2]
            rest = {"option": f"size(2),cursor({first['cursor']})", "fields": fields}
            assert [one["twinId"] for one in web.get(every(web), params=rest).json()["items"]] == others[2:]
        refused = [one for one in events_since(house, before) if one.twin == hidden]
        assert [one.decision for one in refused] == ["deny"] * 3
    finally:
        house.node.access.set_consents(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(hidden, ())])


def test_consent_withholds_a_category_from_the_whole_and_refuses_it_by_name(house: House, web: httpx.Client) -> None:
    twin = house.twins[2]
    was = web.get(f"/{twin}")
    no_labs = Provision(effect="deny", roles=(Role.CLINICIAN,), categories=(Category.LABS,))
    house.node.access.set_consents(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, (no_labs,))])
    try:
        shown = web.get(f"/{twin}", headers={"if-none-match": was.headers["etag"]})
        assert shown.status_code == 200, "what is withheld changes the answer, so its tag as well"
        assert shown.json()["attributes"]["withheld"] == ["labs"]
        assert "bmi" in shown.json()["features"]
        assert "glucose_mg_dl" not in shown.json()["features"]
        for path in (f"/{twin}/features/glucose_mg_dl", target(twin, "glucose_mg_dl")):
            problem(web.get(path), 403, "AccessDenied")
        problem(put(web, target(twin, "glucose_mg_dl"), {}, **{"if-match": "*"}), 403, "AccessDenied")
        house.node.access.set_consents(
            AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT),
            [(twin, (Provision(effect="deny", roles=(Role.CLINICIAN,)),))],
        )
        problem(web.get(f"/{twin}"), 403, "AccessDenied")
        glass = {"purpose": "ETREAT", "justification": "found unconscious on the street"}
        assert "glucose_mg_dl" in web.get(f"/{twin}", params=glass).json()["features"]
    finally:
        house.node.access.set_consents(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, ())])


def test_features_leave_as_records_to_nobody_and_open_no_way_around_a_no(
    house: House, web: httpx.Client, url: str
) -> None:
    """What a patient denies cannot be read from what was computed of it, under any role, purpose or company."""
    twin = house.twins[3]
    house.node.access.set_consents(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT),
        [(twin, (Provision(effect="deny", categories=(Category.LABS,)),))],
    )
    before = house.size()
    try:
        for role, token in house.tokens.items():
            bearer = {"authorization": f"Bearer {token}"}
            for purpose in ("TREAT", "RECORDMGT", "CLINTRCH", "PATRQT"):
                for asked in (["features"], ["vitals", "features"]):
                    answer = httpx.get(
                        f"{url}/{twin}/records", params={"category": asked, "purpose": purpose}, headers=bearer
                    )
                    assert answer.status_code == 403, (role, purpose, asked)
                    assert "records" not in answer.json()
        problem(web.get(f"/{twin}/records", params={"category": "features"}), 403, "NotARecord")
        shown = web.get(f"/{twin}").json()
        assert {"bmi", "age"} <= set(shown["features"])
        assert not {one for one in shown["features"] if category_of(one) is Category.LABS}
        assert web.get(f"/{twin}/records", params={"category": "vitals"}).status_code == 200
        opened = [one for one in events_since(house, before) if one.decision == "permit"]
        assert {one.role for one in opened} == {Role.CLINICIAN}
        assert all(Category.LABS not in one.categories for one in opened)
    finally:
        house.node.access.set_consents(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, ())])


class Stream:
    """One subscription, read as any client would: line by line."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()

    def next(self) -> dict[str, Any]:
        event: dict[str, Any] = {}
        for line in self._lines:
            if not line:
                if "event" in event:
                    return event
                continue
            name, _, value = line.partition(":")
            if name:
                event[name] = json.loads(value) if name == "data" else value.strip()
        raise AssertionError("the stream ended")

    def ended(self) -> bool:
        return next(self._lines, None) is None


def follow(web: httpx.Client, path: str, **headers: str) -> Any:
    return web.stream("GET", path, headers={"accept": "text/event-stream", **headers})


def test_a_twin_is_followed_revision_by_revision_and_resumed(house: House, web: httpx.Client) -> None:
    twin = house.twins[0]
    before = house.size()
    with follow(web, f"/{twin}") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = Stream(response)
        ready = stream.next()
        start = int(ready["id"])
        assert ready["event"] == "ready"
        etag = put(web, target(twin, "ldl_mg_dl"), {"value": 70}).headers["etag"]
        told = stream.next()
        assert (told["event"], int(told["id"])) == ("twin", start + 1)
        assert told["data"]["features"]["ldl_mg_dl"]["desiredProperties"] == {"value": 70}
        assert told["data"]["_revision"] == start + 1
    etag = put(web, target(twin, "ldl_mg_dl"), {"value": 65}, **{"if-match": etag}).headers["etag"]
    put(web, target(twin, "ldl_mg_dl"), {"value": 60}, **{"if-match": etag})
    with follow(web, f"/{twin}", **{"last-event-id": told["id"]}) as response:
        stream = Stream(response)
        stream.next()
        missed = [stream.next()["data"] for _ in range(2)]
    assert [one["features"]["ldl_mg_dl"]["desiredProperties"]["value"] for one in missed] == [65, 60]
    assert [one["_revision"] for one in missed] == [start + 2, start + 3]
    reads = [event for event in events_since(house, before) if event.action == "read"]
    said = [dict(event.detail) for event in reads]
    assert sum("subscription" in one for one in said) == 2, "each subscription is an access"
    assert sum(one.get("event") == "change" for one in said) == 3, "and so is each event told"


def test_all_twins_are_followed_and_only_what_may_be_seen_is_told(house: House, web: httpx.Client) -> None:
    hidden, open_one = house.twins[1], house.twins[3]
    house.node.access.set_consents(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT),
        [(hidden, (Provision(effect="deny", roles=(Role.CLINICIAN,)),))],
    )
    try:
        with follow(web, every(web) + "?fields=twinId,_revision,features/heart_rate") as response:
            stream = Stream(response)
            resume = stream.next()["id"]
            glass = {"purpose": "TREAT"}
            problem(web.get(f"/{hidden}", params=glass), 403, "AccessDenied")
            put(web, target(open_one, "heart_rate"), {"value": 60})
            told = stream.next()
            assert told["data"]["twinId"] == open_one
            assert set(told["data"]) == {"twinId", "_revision", "features"}
        with follow(web, every(web), **{"last-event-id": resume}) as response:
            stream = Stream(response)
            stream.next()
            again = stream.next()
            assert again["data"]["twinId"] == open_one
            assert again["data"]["_revision"] == told["data"]["_revision"]
    finally:
        house.node.access.set_consents(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(hidden, ())])


def test_a_subscription_ends_with_the_consent(house: House, web: httpx.Client, url: str) -> None:
    twin = house.twins[3]
    with follow(web, f"/{twin}") as response:
        stream = Stream(response)
        stream.next()
        house.node.access.set_consents(
            AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT),
            [(twin, (Provision(effect="deny", roles=(Role.CLINICIAN,)),))],
        )
        ended = stream.next()
        assert (ended["event"], ended["data"]["error"]["kind"]) == ("end", "AccessDenied")
        assert stream.ended()
    problem(web.get(f"/{twin}", headers={"accept": "text/event-stream"}), 403, "AccessDenied")
    house.node.access.set_consents(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, ())])


def test_who_may_not_read_may_not_follow(house: House, url: str) -> None:
    headers = {"authorization": f"Bearer {house.tokens['vendor']}", "accept": "text/event-stream"}
    for path in ("", f"/{house.twins[0]}"):
        problem(httpx.get(url + path, headers=headers), 403, "AccessDenied")
    mine = {"authorization": f"Bearer {house.tokens['clinician']}", "accept": "text/event-stream"}
    for last in ("x", "-1", "9" * 40):
        problem(httpx.get(url, headers=mine | {"last-event-id": last}), 400, "BadInput")
    problem(httpx.get(url, headers=mine | {"last-event-id": "999999999"}), 400, "BadInput")


def test_a_client_that_goes_gives_its_place_back(house: House, web: httpx.Client) -> None:
    twin = house.twins[0]
    for _ in range(70):  # more than are served at once
        with follow(web, f"/{twin}") as response:
            assert response.status_code == 200
            Stream(response).next()


def test_nothing_a_twin_aims_at_lies_open_in_a_file(house: House, web: httpx.Client) -> None:
    word = "plainly-readable-goal"
    assert put(web, target(house.twins[1], "triglycerides_mg_dl"), {"note": word}).status_code == 201
    for file in house.node.settings.home.rglob("*"):
        if file.is_file() and file.suffix not in (".db",):
            assert word.encode() not in file.read_bytes()


@pytest.mark.slow
def test_a_shredded_twin_is_there_no_more(tmp_path_factory: pytest.TempPathFactory) -> None:
    built = build(tmp_path_factory.mktemp("shredded") / "home", patients=2)
    try:
        twin = built.twins[0]
        with served(built.node) as base:
            headers = {"authorization": f"Bearer {built.tokens['clinician']}"}
            with httpx.Client(base_url=f"{base}/api/1/twins", headers=headers, timeout=20) as web:
                put(web, target(twin), GOAL)
                built.node.keyring.shred(twin)
                problem(web.get(f"/{twin}"), 404, "TwinShredded")
                problem(put(web, target(twin, "bmi"), {}), 404, "TwinShredded")
                assert [one["twinId"] for one in web.get(every(web)).json()["items"]] == [built.twins[1]]
    finally:
        built.node.close()


_TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(_TREES, _TREES)
def test_a_merge_patch_is_idempotent_and_leaves_no_null_it_brought(tree: Any, change: Any) -> None:
    once = merge_patch(tree, change)
    assert merge_patch(once, change) == once
    if isinstance(change, dict):
        assert isinstance(once, dict)
        assert all(once.get(name) is None for name, value in change.items() if value is None)
        assert {name for name, value in change.items() if value is not None} <= once.keys()


RFC_7396 = [  # appendix A
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("tree", "change", "expected"), RFC_7396)
def test_the_rfcs_merge_patches(tree: Any, change: Any, expected: Any) -> None:
    assert merge_patch(tree, change) == expected
