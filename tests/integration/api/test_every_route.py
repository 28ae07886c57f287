"""Every route of the OpenAPI document, found by walking it: a new route is tested before anybody remembers to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.console.fixtures import SYSTEMS, House
from twinward.api.http.guard import USUAL_BYTES

PUBLIC = {
    *(("GET", "/health"), ("GET", "/ready"), ("GET", "/fhir/metadata"), ("GET", "/api/1/audit/checkpoint")),
    ("POST", "/oauth/token"),  # who asks proves it by what is asked with
    *(("GET", "/log/checkpoint"), ("GET", "/log/tile/{path}")),
}
RIGHT_ROLE = {  # who may; everybody else of `SYSTEMS` is refused
    ("POST", "/fhir"): {"system", "operator", "clinician"},
    ("GET", "/fhir/Patient/{patient_id}/$everything"): {"clinician"},
    ("GET", "/fhir/{resource_type}/{resource_id}"): {"clinician"},
    ("GET", "/fhir/_history"): {"clinician"},
    ("GET", "/fhir/{resource_type}/_history"): {"clinician"},
    ("GET", "/fhir/{resource_type}/{resource_id}/_history"): {"clinician"},
    ("GET", "/fhir/{resource_type}/{resource_id}/_history/{version_id}"): {"clinician"},
    ("POST", "/fhir/{resource_type}"): {"system", "operator", "clinician"},
    ("GET", "/fhir/{resource_type}"): {"clinician"},
    ("POST", "/fhir/{resource_type}/_search"): {"clinician"},
    ("PUT", "/fhir/{resource_type}"): {"system", "operator", "clinician"},
    ("PATCH", "/fhir/{resource_type}"): {"system", "operator", "clinician"},
    ("DELETE", "/fhir/{resource_type}"): {"system", "operator", "clinician"},
    ("PUT", "/fhir/{resource_type}/{resource_id}"): {"system", "operator", "clinician"},
    ("PATCH", "/fhir/{resource_type}/{resource_id}"): {"clinician"},  # it reads what it changes
    ("DELETE", "/fhir/{resource_type}/{resource_id}"): {"system", "operator", "clinician"},
    ("GET", "/fhir/Subscription"): {"clinician"},
    ("POST", "/fhir/Subscription"): {"clinician"},
    ("GET", "/fhir/Subscription/$status"): {"clinician"},
    ("GET", "/fhir/Subscription/{resource_id}"): {"clinician"},
    ("PUT", "/fhir/Subscription/{resource_id}"): {"clinician"},
    ("DELETE", "/fhir/Subscription/{resource_id}"): {"clinician"},
    ("GET", "/fhir/Subscription/{resource_id}/$status"): {"clinician"},
    ("GET", "/fhir/Subscription/{resource_id}/$events"): {"clinician"},
    ("GET", "/fhir/Subscription/{resource_id}/$stream"): {"clinician"},
    ("POST", "/fhir/$import"): {"system", "operator", "clinician"},
    ("GET", "/fhir/$import-jobs/{job}"): {"system", "operator", "clinician"},
    ("DELETE", "/fhir/$import-jobs/{job}"): {"system", "operator", "clinician"},
    ("GET", "/fhir/$export"): {"officer"},
    ("GET", "/fhir/Patient/$export"): {"officer"},
    ("GET", "/fhir/$export-jobs/{job}"): {"officer"},
    ("DELETE", "/fhir/$export-jobs/{job}"): {"officer"},
    ("GET", "/fhir/$export-jobs/{job}/{file}"): {"officer"},
    ("GET", "/api/1/twins"): {"clinician"},
    ("GET", "/api/1/twins/{twin}"): {"clinician"},
    ("GET", "/api/1/twins/{twin}/features"): {"clinician"},
    ("PATCH", "/api/1/twins/{twin}/features"): {"clinician"},
    ("GET", "/api/1/twins/{twin}/features/{feature}"): {"clinician"},
    ("GET", "/api/1/twins/{twin}/features/{feature}/properties"): {"clinician"},
    ("GET", "/api/1/twins/{twin}/features/{feature}/properties/{path}"): {"clinician"},
    ("GET", "/api/1/twins/{twin}/features/{feature}/desiredProperties"): {"clinician"},
    ("PUT", "/api/1/twins/{twin}/features/{feature}/desiredProperties"): {"clinician"},
    ("PATCH", "/api/1/twins/{twin}/features/{feature}/desiredProperties"): {"clinician"},
    ("DELETE", "/api/1/twins/{twin}/features/{feature}/desiredProperties"): {"clinician"},
    ("GET", "/api/1/twins/{twin}/features/{feature}/desiredProperties/{path}"): {"clinician"},
    ("PUT", "/api/1/twins/{twin}/features/{feature}/desiredProperties/{path}"): {"clinician"},
    ("DELETE", "/api/1/twins/{twin}/features/{feature}/desiredProperties/{path}"): {"clinician"},
    ("POST", "/api/1/readings"): {"system", "operator", "clinician"},
    ("GET", "/api/1/alerts"): {"clinician"},
    ("GET", "/api/1/twins/{twin}/alerts"): {"clinician"},
    ("POST", "/api/1/alerts/{alert}/acknowledge"): {"clinician"},
    ("POST", "/api/1/alerts/{alert}/silence"): {"clinician"},
    ("GET", "/api/1/things"): {"system", "operator", "clinician", "officer"},
    ("POST", "/api/1/things"): {"system", "operator", "clinician"},
    ("GET", "/api/1/things/{name}"): {"system", "operator", "clinician", "officer"},
    ("GET", "/api/1/things/{name}/description"): {"system", "operator", "clinician", "officer"},
    ("GET", "/api/1/things/{name}/properties"): {"system", "operator", "clinician", "officer"},
    ("GET", "/api/1/things/{name}/properties/{property}"): {"system", "operator", "clinician", "officer"},
    ("POST", "/api/1/things/{name}/what-if"): {"system", "operator", "clinician"},
    ("GET", "/api/1/things/{name}/history"): {"system", "operator", "clinician"},
    ("POST", "/api/1/things/{name}/relations"): {"system", "operator", "clinician"},
    ("POST", "/api/1/things/{name}/relations/{relation}/end"): {"system", "operator", "clinician"},
    ("POST", "/api/1/things/{name}/actions/{action}"): {"system", "operator", "clinician"},
    ("GET", "/api/1/twins/{twin}/live"): {"clinician"},
    ("GET", "/api/1/twins/{twin}/features/{signal}/timeseries"): {"clinician"},
    ("GET", "/api/1/twins/{twin}/features/{signal}/timeseries/value"): {"clinician"},
    ("GET", "/api/1/twins/{twin}/records"): {"clinician"},
    ("GET", "/api/1/twins/{twin}/consent"): {"officer"},
    ("PUT", "/api/1/twins/{twin}/consent"): {"officer"},
    ("GET", "/api/1/similarity/schema"): {"vendor"},
    ("GET", "/api/1/similarity/gate-key"): {"vendor"},
    ("GET", "/api/1/similarity/query-key"): {"vendor"},
    ("POST", "/api/1/similarity/gated"): {"vendor"},
    ("POST", "/api/1/similarity/vendor-key"): {"vendor"},
    ("POST", "/api/1/similarity/matrix/token"): {"vendor"},
    ("POST", "/api/1/similarity/matrix"): {"vendor"},
    ("POST", "/api/1/similarity/matrix/search"): {"vendor"},
    ("GET", "/api/1/similarity/feasibility"): {"vendor"},
    ("POST", "/api/1/similarity/feasibility"): {"vendor"},
    ("GET", "/api/1/similarity/contacts"): {"vendor"},
    ("POST", "/api/1/similarity/contacts"): {"vendor"},
    ("POST", "/api/1/similarity/records"): {"vendor"},
    ("GET", "/api/1/similarity/budget"): {"vendor"},
    ("GET", "/api/1/similarity/results"): {"vendor"},
    ("GET", "/api/1/similarity/results/{query_id}"): {"vendor"},
    ("GET", "/api/1/audit/events"): {"officer"},
    ("GET", "/api/1/audit/events/{index}"): {"officer"},
    ("GET", "/api/1/audit/events/{index}/proof"): {"officer"},
    ("GET", "/api/1/audit/consistency"): {"officer"},
    ("GET", "/api/1/audit/twins/{twin}/accesses"): {"officer"},
    ("GET", "/api/1/accounts"): {"officer"},
    ("GET", "/api/1/accounts/{account}"): {"officer"},
    ("POST", "/api/1/accounts/{account}/disable"): {"officer"},
    ("POST", "/api/1/accounts/{account}/enable"): {"officer"},
    ("POST", "/api/1/accounts/{account}/end-sessions"): {"officer"},
    ("POST", "/api/1/accounts/{account}/expire-password"): {"officer"},
    ("GET", "/api/1/accounts/{account}/sessions"): {"officer"},
    ("DELETE", "/api/1/accounts/{account}/sessions/{session}"): {"officer"},
    ("POST", "/api/1/accounts/{account}/tokens"): {"officer"},
    ("DELETE", "/api/1/accounts/{account}/tokens/{number}"): {"officer"},
    ("PUT", "/api/1/accounts/{account}/password"): {"officer"},
    ("GET", "/api/1/delegations"): {"officer", "clinician", "researcher", "operator"},
    ("POST", "/api/1/delegations"): {"officer", "clinician"},
    ("DELETE", "/api/1/delegations/{account}/{number}"): {"officer", "clinician", "researcher", "operator"},
    ("POST", "/api/1/proofs"): {"officer", "clinician", "researcher", "operator"},
    ("GET", "/api/1/emergencies"): {"officer"},
    ("POST", "/api/1/emergencies/{emergency}/review"): {"officer"},
    ("POST", "/api/1/emergencies/{emergency}/stop"): {"clinician"},
}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, methods in document["paths"].items():
        for method in methods:
            yield method.upper(), path


@pytest.fixture(scope="session")
def routes(web: TestClient) -> set[tuple[str, str]]:
    return set(operations(web.get("/openapi.json").json()))


def filled(path: str, house: House) -> str:
    values = {"twin": house.twins[0], "index": "0", "patient_id": "p", "resource_type": "Patient", "resource_id": "p"}
    values |= {"account": "nobody", "number": "1", "query_id": "ab" * 16}
    values |= {"version_id": "1", "job": "j", "file": "Patient.ndjson", "feature": "bmi", "path": "value"}
    values |= {"signal": "heart_rate", "alert": house.twins[0]}
    values |= {"name": "bed-1", "relation": "assigned-to", "action": "fault", "property": "beds"}
    filled_path = path.format(**values, emergency="0" * 16, session="0" * 16)
    asked = {"records": "?category=labs", "readings": "?source=gw"}
    return filled_path + asked.get(filled_path.rpartition("/")[2], "")


def body(method: str, path: str) -> dict[str, Any]:
    if path.startswith("/api/1/readings"):
        return {"content": b"{}", "headers": {"content-type": "application/x-ndjson"}}
    if path == "/fhir":
        patient = {"resourceType": "Patient", "id": "role-walk"}
        entry = {"resource": patient, "request": {"method": "PUT", "url": "Patient/role-walk"}}
        content = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        return {"json": content, "headers": {"content-type": "application/fhir+json"}}
    if path.endswith("/_search"):
        return {"headers": {"content-type": "application/x-www-form-urlencoded"}}
    if path.startswith("/fhir/") and method == "PATCH":
        change = {"op": "replace", "path": "/gender", "value": "other"}
        return {"json": [change], "headers": {"content-type": "application/json-patch+json"}}
    if path.startswith("/fhir/") and method in ("POST", "PUT"):
        content = {"resourceType": "Patient", "id": "p"}
        return {"json": content, "headers": {"content-type": "application/fhir+json"}}
    if path.startswith("/api/1/accounts"):
        return {"json": {"password": "three words unlike others"}} if path.endswith("/password") else {}
    if method == "PUT" and path.endswith("/consent"):
        return {"json": []}
    if method in ("PUT", "PATCH"):
        return {"json": {"bmi": {"desiredProperties": {"value": 25}}}}
    if path.endswith("/token"):
        return {"json": {"epoch": 1, "levels": [1], "threshold_squared": 1}}
    if path.endswith(("/acknowledge", "/silence")):
        return {"json": {"minutes": 5, "reason": "the probe is being changed"}} if path.endswith("/silence") else {}
    if path.endswith("/review"):
        return {"json": {"justified": True, "note": "the patient was in shock"}}
    if method == "POST":
        return {"json": {"epoch": 1, "bundle": "AAAA", "token": "AAAA", "threshold_squared": 1}}
    return {}


def ask(web: TestClient, method: str, path: str, token: str | None, **more: Any) -> Any:
    headers = more.pop("headers", {}) | ({"authorization": f"Bearer {token}"} if token is not None else {})
    return web.request(method, path, headers=headers, **more)


def require_shape(answer: Any) -> None:
    """Errors are the one JSON shape, an OperationOutcome under /fhir, or RFC 6749's where tokens are given."""
    said = answer.json()
    if answer.request.url.path == "/oauth/token" and answer.headers["content-type"] == "application/json":
        assert (set(said), answer.status_code in (400, 429)) == ({"error", "error_description"}, True)
        return
    if said.get("resourceType") == "OperationOutcome":
        assert said["issue"]
        return
    assert answer.headers["content-type"] == "application/problem+json"
    assert (set(said), said["status"]) == ({"type", "title", "status", "error"}, answer.status_code)
    assert said["type"] == f"urn:twinward:problem:{said['error']['kind']}"
    assert set(said["error"]) == {"kind", "message", "hint"}
    assert said["error"]["message"]


def test_every_route_is_known_here(routes: set[tuple[str, str]]) -> None:
    assert routes == PUBLIC | set(RIGHT_ROLE)


@pytest.mark.parametrize("token", [None, "", "twk_dr-lee_wrong", "nonsense", "twk__", "twk_officer_"])
def test_no_route_answers_without_a_genuine_token(
    web: TestClient, api_house: House, routes: set[tuple[str, str]], token: str | None
) -> None:
    for method, path in routes - PUBLIC:
        before = api_house.size()
        answer = ask(web, method, filled(path, api_house), token, **body(method, path))
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"
        require_shape(answer)
        assert api_house.size() == before


def test_neither_a_cookie_nor_an_address_opens_a_route(
    web: TestClient, api_house: House, routes: set[tuple[str, str]]
) -> None:
    session = api_house.node.sign_ins.by_password("officer", "correct horse battery")
    for method, path in routes - PUBLIC:
        headers = body(method, path).get("headers", {}) | {"cookie": f"twinward_session={session}"}
        more = {name: value for name, value in body(method, path).items() if name != "headers"}
        more["params"] = more.get("params", {}) | dict.fromkeys(("access_token", "token"), api_house.tokens["officer"])
        assert web.request(method, filled(path, api_house), headers=headers, **more).status_code == 401


@pytest.mark.parametrize("route", sorted(RIGHT_ROLE), ids=" ".join)
def test_every_wrong_role_is_refused_and_the_refusal_is_logged(
    web: TestClient, api_house: House, route: tuple[str, str]
) -> None:
    method, path = route
    for name in sorted(set(SYSTEMS) - RIGHT_ROLE[route]):
        before = api_house.size()
        answer = ask(web, method, filled(path, api_house), api_house.tokens[name], **body(method, path))
        assert answer.status_code == 403, name
        require_shape(answer)
        row = newest(web, api_house, before)
        assert (row["agent"], row["decision"]) == (SYSTEMS[name].id, "deny")


def newest(web: TestClient, house: House, before: int) -> dict[str, Any]:
    """The one event that was logged since."""
    assert house.size() == before + 1
    answer = ask(web, "GET", f"/api/1/audit/events/{before}", house.tokens["officer"])
    row: dict[str, Any] = answer.json()
    return row


@pytest.mark.parametrize(
    ("who", "path", "action", "purpose"),
    [
        ("clinician", "/api/1/twins/{twin}/features", "read", "TREAT"),
        ("clinician", "/api/1/twins/{twin}/records?category=labs&category=vitals", "read", "TREAT"),
        ("officer", "/api/1/twins/{twin}/consent", "consent", "HCOMPL"),
        ("officer", "/api/1/accounts", "account", "HCOMPL"),
        ("officer", "/api/1/accounts/acme", "account", "HCOMPL"),
        ("officer", "/api/1/audit/events", "audit", "HCOMPL"),
        ("officer", "/api/1/audit/events/0", "audit", "HCOMPL"),
        ("officer", "/api/1/audit/events/0/proof", "audit", "HCOMPL"),
        ("vendor", "/api/1/similarity/results", "query", "CLINTRCH"),
    ],
)
def test_every_egress_is_an_access(
    web: TestClient, api_house: House, who: str, path: str, action: str, purpose: str
) -> None:
    api_house.node.similarity()  # an epoch's snapshot is an access to every twin; it is not this read's
    before = api_house.size()
    answer = ask(web, "GET", path.format(twin=api_house.twins[0]), api_house.tokens[who])
    assert answer.status_code == 200
    row = newest(web, api_house, before)
    assert (row["agent"], row["action"], row["purpose"], row["decision"]) == (
        SYSTEMS[who].id,
        action,
        purpose,
        "permit",
    )
    assert row["twin"] == (api_house.twins[0] if "{twin}" in path else None)
    if "category=" in path:
        assert row["categories"] == ["labs", "vitals"]


def test_looking_at_terms_and_ones_own_allowance_is_no_access(web: TestClient, api_house: House) -> None:
    api_house.node.similarity()
    before = api_house.size()
    for page in ("schema", "query-key", "gate-key", "budget"):
        assert ask(web, "GET", f"/api/1/similarity/{page}", api_house.tokens["vendor"]).status_code == 200
    for path in ("/health", "/ready", "/fhir/metadata", "/api/1/audit/checkpoint"):
        assert web.get(path).status_code == 200
    assert api_house.size() == before


@pytest.mark.parametrize("index", ["999999", "9007199254740991"])
def test_an_event_that_is_not_there_is_not_found(web: TestClient, api_house: House, index: str) -> None:
    for path in (f"/api/1/audit/events/{index}", f"/api/1/audit/events/{index}/proof"):
        answer = ask(web, "GET", path, api_house.tokens["officer"])
        assert answer.status_code == 404
        require_shape(answer)


@pytest.mark.parametrize("index", ["-1", "9007199254740992", "1" * 60, "1.5", "abc", "0x1", "%00"])
def test_what_is_no_index_is_bad_input(web: TestClient, api_house: House, index: str) -> None:
    for path in (f"/api/1/audit/events/{index}", f"/api/1/audit/events/{index}/proof"):
        answer = ask(web, "GET", path, api_house.tokens["officer"])
        assert answer.status_code == 400
        require_shape(answer)


def test_an_unknown_twin_is_told_to_nobody_but_those_who_may(web: TestClient, api_house: House) -> None:
    unknown = "00000000-0000-7000-8000-000000000000"
    path = f"/api/1/twins/{unknown}/consent"
    assert ask(web, "GET", path, api_house.tokens["officer"]).status_code == 404
    assert ask(web, "PUT", path, api_house.tokens["officer"], json=[]).status_code == 404
    known = f"/api/1/twins/{api_house.twins[0]}/consent"
    for method in ("GET", "PUT"):
        answers = [ask(web, method, one, api_house.tokens["vendor"], content=b"[]") for one in (path, known)]
        assert [answer.status_code for answer in answers] == [403, 403]
        assert answers[0].json() == answers[1].json()


def test_a_consent_is_set_read_and_bites_at_the_next_decision(web: TestClient, api_house: House) -> None:
    twin = api_house.twins[-1]
    path, reading = f"/api/1/twins/{twin}/consent", f"/api/1/twins/{twin}/records?category=labs"
    assert ask(web, "GET", reading, api_house.tokens["clinician"]).status_code == 200
    put = ask(web, "PUT", path, api_house.tokens["officer"], json=[{"effect": "deny", "actors": ["dr-lee"]}])
    assert put.status_code == 200
    got = ask(web, "GET", path, api_house.tokens["officer"])
    assert got.json() == put.json()
    assert got.json()["version"] >= 1
    refused = ask(web, "GET", reading, api_house.tokens["clinician"])
    assert refused.status_code == 403
    assert "consent" in refused.json()["error"]["message"]
    assert ask(web, "PUT", path, api_house.tokens["officer"], json=[]).json()["version"] == put.json()["version"] + 1
    assert ask(web, "GET", reading, api_house.tokens["clinician"]).status_code == 200


@pytest.mark.parametrize("content", [b"", b"[", b'[{"effect":"maybe"}]', b"\xff", b'"x"', b"[" * 5000, b" " * 70_000])
def test_a_consent_that_cannot_be_understood_changes_nothing(web: TestClient, api_house: House, content: bytes) -> None:
    path = f"/api/1/twins/{api_house.twins[0]}/consent"
    before = ask(web, "GET", path, api_house.tokens["officer"]).json()
    json_said = {"content-type": "application/json"}
    answer = ask(web, "PUT", path, api_house.tokens["officer"], content=content, headers=json_said)
    assert answer.status_code == (413 if len(content) > USUAL_BYTES else 400)
    require_shape(answer)
    assert ask(web, "GET", path, api_house.tokens["officer"]).json() == before


def test_methods_that_a_route_does_not_have_say_which_it_has(web: TestClient) -> None:
    for method in ("PUT", "TRACE", "DELETE"):
        answer = web.request(method, "/api/1/audit/checkpoint")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert "access-control-allow-origin" not in web.options("/api/1/audit/events").headers


_JUNK = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["-1", "9" * 40, "NaN", "null", "%00", "../../etc/passwd", "<script>", "a" * 3000, "\udcff", "0"]),
)
_BODY = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.just(1e308),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    ),
)


@pytest.mark.parametrize("route", sorted(PUBLIC | set(RIGHT_ROLE)), ids=" ".join)
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(_JUNK, min_size=2, max_size=2), query=st.dictionaries(_JUNK, _JUNK, max_size=3), sent=_BODY)
def test_no_junk_makes_a_server_error(
    web: TestClient, api_house: House, route: tuple[str, str], parts: list[str], query: dict[str, str], sent: Any
) -> None:
    method, path = route
    keep = quote(parts[0].encode("utf-8", "surrogatepass"), safe="") or "x"
    names = dict.fromkeys(
        (
            "account",
            "number",
            "query_id",
            "job",
            "file",
            "twin",
            "index",
            "patient_id",
            "resource_type",
            "resource_id",
            "version_id",
            "feature",
            "signal",
            "alert",
            "path",
            "emergency",
            "session",
            "name",
            "relation",
            "action",
            "property",
        ),
        keep,
    )
    known = {"before": parts[0], "category": parts[1], "purpose": parts[1], "limit": parts[0], "twin": parts[1]}
    asked = urlencode({**known, **query}, errors="surrogatepass")
    content: dict[str, Any] = {"content": sent} if isinstance(sent, bytes) else {"json": sent}
    for who in RIGHT_ROLE.get(route, {"vendor"}):
        headers = {"content-type": "application/fhir+json" if path.startswith("/fhir") else "application/json"}
        answer = ask(web, method, f"{path.format(**names)}?{asked}", api_house.tokens[who], headers=headers, **content)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            require_shape(answer)


def test_the_document_describes_no_page_of_the_console(routes: set[tuple[str, str]]) -> None:
    assert not any(path.startswith("/console") for _, path in routes)
