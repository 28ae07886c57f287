"""Accept, Content-Type, codings, HEAD and OPTIONS: alike at every door, found by walking the OpenAPI document."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import zstandard
from fastapi.testclient import TestClient

from tests.integration.api.exchange import Exchange, exchange
from tests.integration.api.test_every_route import PUBLIC, RIGHT_ROLE, ask, body, filled, require_shape
from tests.integration.console.fixtures import House
from twinward.api.http.representation import is_packed

PROBED = {("GET", "/health"), ("GET", "/ready")}
"""Probes take whatever comes: a balancer's odd Accept must not take a node down."""

TOKENS = {("POST", "/oauth/token")}
"""RFC 6749 knows one form of its answers, and no Accept."""

ROUTES = sorted((PUBLIC | set(RIGHT_ROLE)) - PROBED - TOKENS)
READ = [route for route in sorted(PUBLIC | set(RIGHT_ROLE)) if route[0] == "GET"]
UNPACK = {
    "gzip": gzip.decompress,
    "zstd": lambda packed: zstandard.ZstdDecompressor().decompressobj().decompress(packed),
}


def document(web: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = web.get("/openapi.json").json()["paths"]
    return found


def sent_to(house: House, path: str) -> str:
    """An address at which nothing stands in the way of looking at the body."""
    where = filled(path, house).replace("/nobody/", "/acme/")
    return f"{where}?identifier=http://x|1" if path == "/fhir/{resource_type}" else where


def who_may(house: House, route: tuple[str, str]) -> str:
    return house.tokens[min(RIGHT_ROLE.get(route, {"clinician"}))]


def test_what_no_client_takes_is_refused_at_every_door_before_anything_is_done(
    web: TestClient, api_house: House
) -> None:
    refusing = [{"accept": "application/x-nothing"}, {"accept": "*/*;q=0"}, {"accept-encoding": "br, *;q=0"}]
    before = api_house.size()
    for route in ROUTES:
        method, path = route
        for header in refusing:
            sent = body(method, path)
            headers = sent.pop("headers", {}) | header
            answer = ask(web, method, filled(path, api_house), who_may(api_house, route), headers=headers, **sent)
            assert answer.status_code == 406, (route, header)
            require_shape(answer)
            if route not in PUBLIC and header is refusing[0]:
                stranger = ask(web, method, filled(path, api_house), "twk_nobody_x", headers=headers, **sent)
                assert stranger.status_code == 401, route
    assert api_house.size() == before


def test_probes_are_answered_whatever_they_take(web: TestClient) -> None:
    for _, path in PROBED:
        assert web.get(path, headers={"accept": "text/html", "accept-encoding": "identity;q=0"}).status_code == 200


def test_what_the_document_says_comes_back_can_be_asked_for_at_every_door(web: TestClient, api_house: House) -> None:
    paths = document(web)
    for route in READ:
        path, token = filled(route[1], api_house), who_may(api_house, route)
        content = paths[route[1]]["get"]["responses"].get("200", {}).get("content", {})
        for media_type in content.keys() - {"application/pdf"}:  # which takes a second to print
            answer = exchange(web.app, "HEAD", path, token, accept="*/*;q=0.1, " + media_type)
            assert answer.status != 406, (path, media_type)
            if answer.status == 200:
                assert answer.headers["content-type"].partition(";")[0] == media_type, path


def test_head_is_get_without_its_body_at_every_door(web: TestClient, api_house: House) -> None:
    answered = 0
    for route in READ:
        path, token = filled(route[1], api_house), who_may(api_house, route)
        web.get(path, headers={"authorization": f"Bearer {token}"})  # an epoch's snapshot is an access of its own
        seen: list[tuple[Exchange, int]] = []
        for method in ("GET", "HEAD"):
            before = api_house.size()
            seen.append((exchange(web.app, method, path, token, accept_encoding="gzip"), api_house.size() - before))
        (whole, logged), (head, logged_too) = seen
        assert head.body == b"", route
        assert (head.status, head.headers.keys()) == (whole.status, whole.headers.keys()), route
        # They hold the moment, or the event, of their own reading.
        tells_itself = {"content-length"} if "/audit/" in path or path.endswith("/metadata") else set()
        assert {name for name in head.headers if head.headers[name] != whole.headers[name]} <= tells_itself, route
        assert logged_too == logged, route
        answered += head.status == 200
    assert answered >= 25


def test_options_tells_the_methods_of_a_path_to_anybody_and_nothing_else(web: TestClient, api_house: House) -> None:
    paths = document(web)
    before = api_house.size()
    for path, methods in paths.items():
        documented = {method.upper() for method in methods} | {"OPTIONS"} | ({"HEAD"} if "get" in methods else set())
        for where in (filled(path, api_house), path.replace("{", "").replace("}", "")):
            answer = web.options(where)
            if answer.status_code == 404:  # "resource_type" and "job" are no type and no number
                continue
            assert (answer.status_code, answer.content) == (204, b"")
            assert documented <= set(answer.headers["allow"].split(", ")), path
            assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert web.options(filled(path, api_house)).status_code == 204, path
    assert web.options("/nowhere").status_code == 404
    assert web.options("/api/1/nothing").headers.get("allow") is None
    assert "GET" in exchange(web.app, "OPTIONS", "*").headers["allow"]
    assert api_house.size() == before


def test_a_method_that_a_path_lacks_is_refused_with_those_it_has(web: TestClient, api_house: House) -> None:
    for path, methods in document(web).items():
        where = filled(path, api_house)
        for method in {"PATCH", "TRACE", "HEAD"} - {one.upper() for one in methods}:
            answer = web.request(method, where)
            if method == "HEAD" and "get" in methods:
                continue
            if answer.status_code != 405:  # another route has this path as well, and wants to know who asks
                assert method in web.options(where).headers["allow"].split(", ")
                continue
            assert answer.headers["allow"] == web.options(where).headers["allow"], (method, path)


def test_a_body_of_another_kind_is_refused_at_every_door(web: TestClient, api_house: House) -> None:
    paths, asked = document(web), 0
    for route in sorted(RIGHT_ROLE):
        method, path = route
        taken = paths[path][method.lower()].get("requestBody", {}).get("content", {})
        content = json.dumps(body(method, path).get("json", "_count=1")).encode() or b"{}"
        content = b"[]" if path.endswith("/consent") else content
        for said in (
            ["application/xml", "text/plain", *(f"{one}; charset=iso-8859-1" for one in taken)] if taken else ()
        ):
            # What is changed is looked at before what is sent: so a reason to refuse it earlier must not be there.
            where = filled(path, api_house).replace("/nobody/", "/acme/")
            if "/emergencies/" in where:
                continue
            headers = {"content-type": said} | ({"if-none-match": "*"} if "/features" in path else {})
            answer = ask(
                web, method, sent_to(api_house, path), who_may(api_house, route), content=content, headers=headers
            )
            assert answer.status_code == 415, (route, said, answer.text)
            assert set(answer.headers["accept"].split(", ")) == set(taken), route
            require_shape(answer)
            asked += 1
    assert asked > 40


def test_a_coding_that_is_not_taken_is_refused_at_every_door_by_name(web: TestClient, api_house: House) -> None:
    paths = document(web)
    for route in sorted(RIGHT_ROLE):
        method, path = route
        if "requestBody" not in paths[path][method.lower()]:
            continue
        for coding in ("br", "deflate", "gzip, gzip", "compress"):
            sent = body(method, path)
            headers = sent.pop("headers", {}) | {"content-encoding": coding}
            if path.endswith("$import"):
                headers["content-type"] = "application/fhir+ndjson"
            answer = ask(web, method, sent_to(api_house, path), who_may(api_house, route), headers=headers, **sent)
            assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "zstd, gzip"), route
            require_shape(answer)
    refused = web.post("/console/sign-in", data={"account": "x"}, headers={"content-encoding": "gzip"})
    assert (refused.status_code, refused.headers["accept-encoding"]) == (415, "identity")


def fhir(web: TestClient, house: House, method: str, path: str, **more: Any) -> Any:
    more["headers"] = {"content-type": "application/fhir+json"} | more.get("headers", {})
    return ask(web, method, f"/fhir/{path}", house.tokens["clinician"], **more)


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("zstd", zstandard.compress)]
)
def test_a_packed_resource_is_the_resource(web: TestClient, api_house: House, coding: str, pack: Any) -> None:
    patient = b'{"resourceType":"Patient","id":"packed","name":[{"family":"M\xc3\xbcller"}]}'
    made = fhir(web, api_house, "PUT", "Patient/packed", content=pack(patient), headers={"content-encoding": coding})
    assert made.status_code in (200, 201)
    assert fhir(web, api_house, "GET", "Patient/packed").json()["name"] == [{"family": "Müller"}]
    form = {"content-type": "application/x-www-form-urlencoded", "content-encoding": coding}
    assert fhir(web, api_house, "POST", "Patient/_search", content=pack(b"_id=packed"), headers=form).json()["entry"]
    twin = f"/api/1/twins/{api_house.twins[0]}/consent"
    said = {"content-type": "application/json", "content-encoding": coding}
    kept = ask(web, "PUT", twin, api_house.tokens["officer"], content=pack(b"[]"), headers=said)
    assert kept.status_code == 200


@pytest.mark.parametrize(
    "accept_encoding", ["gzip", "zstd", "zstd;q=0.3, gzip", "identity;q=0, gzip;q=0.1", "gzip, deflate, br, zstd"]
)
def test_answers_are_packed_as_their_client_would_have_them(
    web: TestClient, api_house: House, accept_encoding: str
) -> None:
    coding = "zstd" if accept_encoding in ("zstd", "gzip, deflate, br, zstd") else "gzip"
    officer, clinician = api_house.tokens["officer"], api_house.tokens["clinician"]
    for path, token in (
        ("/fhir/metadata", ""),
        ("/fhir/Patient?_count=20", clinician),
        (f"/api/1/twins/{api_house.twins[0]}", clinician),
        ("/api/1/audit/events", officer),
        ("/openapi.json", ""),
    ):
        plain = exchange(web.app, "GET", path, token)
        packed = exchange(web.app, "GET", path, token, accept_encoding=accept_encoding)
        assert (packed.status, packed.headers["content-encoding"]) == (200, coding), path
        assert packed.headers["vary"] == plain.headers["vary"] == "Accept, Accept-Encoding"
        assert int(packed.headers["content-length"]) == len(packed.body) < len(plain.body)
        found, wanted = (json.loads(one) for one in (UNPACK[coding](packed.body), plain.body))
        assert found.keys() == wanted.keys()
        assert "content-encoding" not in plain.headers


def test_what_mixes_a_secret_with_what_others_wrote_is_never_packed(web: TestClient, api_house: House) -> None:
    """BREACH, and lengths that tell: pages with a form's secret, new tokens, answers about patients' likeness."""
    web.cookies.clear()
    for path, who in (
        ("/console/sign-in", ""),
        ("/api/1/accounts", "officer"),
        ("/api/1/emergencies", "officer"),
        ("/api/1/similarity/schema", "vendor"),
        ("/api/1/similarity/results", "vendor"),
        ("/log/checkpoint", ""),
        ("/nowhere", ""),
    ):
        token = api_house.tokens[who] if who else ""
        answer = exchange(web.app, "GET", path, token, accept_encoding="gzip, zstd, *")
        assert "content-encoding" not in answer.headers, path
        assert not is_packed(path, answer.headers["content-type"].partition(";")[0]), path
    refused = exchange(web.app, "GET", "/fhir/Patient/nobody", api_house.tokens["clinician"], accept_encoding="gzip")
    assert "content-encoding" not in refused.headers


def test_a_strong_tag_says_how_its_bytes_are_packed_and_comes_back_as_the_same_state(
    web: TestClient, api_house: House
) -> None:
    path, token = f"/api/1/twins/{api_house.twins[0]}", api_house.tokens["clinician"]
    plain = exchange(web.app, "GET", path, token).headers["etag"]
    packed = exchange(web.app, "GET", path, token, accept_encoding="gzip").headers["etag"]
    assert packed == f'{plain[:-1]}--gzip"'
    for tag in (plain, packed, f'"x", {packed}'):
        known = exchange(web.app, "GET", path, token, accept_encoding="gzip", if_none_match=tag)
        assert (known.status, known.headers["etag"]) == (304, plain if tag == plain else packed)
    patch: dict[str, Any] = {"body": b'{"bmi":{"desiredProperties":{"value":24}}}', "content_type": "application/json"}
    features = f"{path}/features"
    assert exchange(web.app, "PATCH", features, token, if_match='"0-other--gzip"', **patch).status == 412
    assert exchange(web.app, "PATCH", features, token, if_match=packed, **patch).status == 204


def test_format_comes_before_accept_and_is_answered_under_its_name(web: TestClient, api_house: House) -> None:
    token = api_house.tokens["clinician"]
    for query, accept, label in (
        ("", "application/json", "application/json"),
        ("", "application/fhir+json; fhirVersion=4.0", "application/fhir+json; fhirVersion=4.0"),
        ("?_format=json", "application/fhir+xml", "application/fhir+json"),
        ("?_format=application/json", "application/fhir+xml", "application/json"),
        ("?_format=application/fhir%2Bjson;fhirVersion=4.0", "text/html", "application/fhir+json"),
        ("?_format=application/fhir+json&_pretty=true", "", "application/fhir+json"),
    ):
        for path in ("Patient", "Patient/nobody", "metadata"):
            answer = exchange(web.app, "GET", f"/fhir/{path}{query}", token, accept=accept)
            assert (answer.status, answer.headers["content-type"]) == (404 if "nobody" in path else 200, label)
    for value in (
        "xml",
        "application/fhir%2Bxml",
        "ttl",
        "html",
        "",
        "application/json;fhirVersion=3.0",
        "json&_format=xml",
    ):
        for method, path in (("GET", "Patient/p"), ("GET", "metadata"), ("POST", "Patient"), ("DELETE", "Patient/p")):
            before = api_house.size()
            refused = exchange(web.app, method, f"/fhir/{path}?_format={value}", token, accept="application/fhir+json")
            assert (refused.status, json.loads(refused.body)["issue"][0]["code"]) == (406, "not-supported")
            assert api_house.size() == before
    assert exchange(web.app, "DELETE", "/fhir/Patient/p?_pretty=perhaps", token).status == 400


def test_a_form_may_say_the_format_and_no_leniency_lets_another_pass(web: TestClient, api_house: House) -> None:
    form = {"content-type": "application/x-www-form-urlencoded", "accept": "application/fhir+xml"}
    search: dict[str, Any] = {"method": "POST", "path": "Patient/_search"}
    assert fhir(web, api_house, **search, content="_format=json", headers=form).status_code == 200
    assert fhir(web, api_house, **search, content="_id=x", headers=form).status_code == 406
    lenient = form | {"accept": "*/*", "prefer": "handling=lenient"}
    assert fhir(web, api_house, **search, content="_format=xml", headers=lenient).status_code == 406


def test_a_report_comes_in_the_form_that_is_accepted_unless_one_is_named(web: TestClient, api_house: House) -> None:
    path, token = f"/api/1/audit/twins/{api_house.twins[0]}/accesses", api_house.tokens["officer"]
    for query, accept, media_type in (
        ("", "*/*", "application/json"),
        ("", "text/csv", "text/csv"),
        ("", "application/fhir+json", "application/fhir+json"),
        ("?format=csv", "application/json", "text/csv"),
    ):
        answer = exchange(web.app, "GET", path + query, token, accept=accept)
        assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, media_type)


def test_following_goes_unpacked_and_head_of_it_ends(web: TestClient, api_house: House) -> None:
    path, token = f"/api/1/twins/{api_house.twins[0]}", api_house.tokens["clinician"]
    for _ in range(66):  # more than are served at once: each gives its place back
        answer = exchange(web.app, "HEAD", path, token, accept="text/event-stream", accept_encoding="gzip")
        assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in answer.headers
    refused = exchange(web.app, "HEAD", path, api_house.tokens["vendor"], accept="text/event-stream")
    assert (refused.status, refused.body) == (403, b"")
