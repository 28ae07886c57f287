"""Why a caller asks: every route takes it the same way, refuses what cannot be meant, and logs what was meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute

from tests.integration.api.test_every_route import PUBLIC, RIGHT_ROLE, ask, body, filled, newest, require_shape
from tests.integration.console.fixtures import SYSTEMS, House
from twinward.api.http.caller import stated, stated_in_headers
from twinward.core.vocabulary import Category

WHY = "found unconscious on the street"
CHINESE = "病人昏迷不醒"
ROUTES = sorted(RIGHT_ROLE)


def calls(dependant: Dependant) -> Iterator[Any]:
    for one in dependant.dependencies:
        yield one.call
        yield from calls(one)


def api_routes(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        yield from api_routes(getattr(getattr(route, "original_router", None), "routes", ()))


def with_query(path: str, query: str) -> str:
    return f"{path}{'&' if '?' in path else '?'}{query}"


UNLISTED = {("GET", "/fhir/.well-known/smart-configuration")}
"""Public, and SMART's to describe rather than the OpenAPI document's."""


def test_every_route_that_is_not_public_takes_its_reason_from_the_one_dependency(api_house: House) -> None:
    walked = set()
    for route in api_routes(api_house.app.routes):
        if route.path == "/" or route.path.startswith("/console"):
            continue  # the console's own
        methods = {(method, route.path_format) for method in route.methods - {"HEAD"}}
        walked |= methods
        if methods - PUBLIC - UNLISTED:
            wanted = stated_in_headers if route.path.startswith("/fhir") else stated
            assert wanted in set(calls(route.dependant)), route.path
    assert walked >= PUBLIC | set(RIGHT_ROLE)


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_a_purpose_that_is_unknown_said_twice_or_contradicted_is_bad_input_everywhere(
    web: TestClient, api_house: House, route: tuple[str, str]
) -> None:
    method, path = route
    where, sent = filled(path, api_house), body(method, path)
    token = api_house.tokens[sorted(RIGHT_ROLE[route])[0]]
    common = [*sent.get("headers", {}).items(), ("authorization", f"Bearer {token}")]
    more = {name: value for name, value in sent.items() if name != "headers"}
    purpose, why = "x-purpose-of-use", "x-justification"
    wrong = [
        (where, [(purpose, "NOSUCH")]),
        (where, [(purpose, "treat")]),
        (where, [(purpose, "TREAT"), (purpose, "ETREAT")]),
        (where, [(why, WHY), (why, WHY)]),
        (where, [(why, "UTF-8''%ff%fe")]),
        (where, [(why, "x" * 1001)]),
    ]
    if not path.startswith("/fhir"):
        wrong += [
            (with_query(where, "purpose=NOSUCH"), []),
            (with_query(where, "purpose=TREAT&purpose=ETREAT"), []),
            (with_query(where, "purpose=TREAT"), [(purpose, "ETREAT")]),
            (with_query(where, f"justification={quote(WHY)}"), [(why, "something else altogether")]),
        ]
    before = api_house.size()
    for address, headers in wrong:
        answer = web.request(method, address, headers=common + headers, **more)
        assert answer.status_code == 400, (address, headers)
        require_shape(answer)
    assert api_house.size() == before


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_the_purpose_that_was_stated_is_the_one_that_is_decided_and_logged(
    web: TestClient, api_house: House, route: tuple[str, str]
) -> None:
    """Nobody may do anything for HOPERAT: had a route its own idea of the purpose, it would be permitted."""
    method, path = route
    for name in sorted(RIGHT_ROLE[route]):
        before, sent = api_house.size(), body(method, path)
        headers = sent.pop("headers", {}) | {"x-purpose-of-use": "HOPERAT", "x-justification": WHY}
        answer = ask(web, method, filled(path, api_house), api_house.tokens[name], headers=headers, **sent)
        assert answer.status_code == 403, answer.text
        row = newest(web, api_house, before)
        assert (row["agent"], row["decision"], row["purpose"]) == (SYSTEMS[name].id, "deny", "HOPERAT")


def records(web: TestClient, house: House, headers: dict[str, str], query: str = "") -> Any:
    path = f"/api/1/twins/{house.twins[0]}/records?category=psychiatry{query}"
    return ask(web, "GET", path, house.tokens["clinician"], headers=headers)


@pytest.mark.parametrize(
    ("sent", "logged"),
    [
        (WHY, WHY),
        (quote(CHINESE), CHINESE),
        (f"UTF-8''{quote(CHINESE)}", CHINESE),
        (f"utf-8'zh'{quote(CHINESE)}", CHINESE),
        (CHINESE.encode(), CHINESE),
        ("patient réanimé à l'entrée".encode("latin-1"), "patient réanimé à l'entrée"),
        ("saturation fell to 80%ff below", "saturation fell to 80%ff below"),
        ("lost%20consciousness%0Aat home", "lost consciousness at home"),
        (quote("im Schockraum \u202ebewusstlos"), "im Schockraum bewusstlos"),
    ],
)
def test_a_justification_comes_through_a_header_in_every_script(
    web: TestClient, api_house: House, sent: str | bytes, logged: str
) -> None:
    before = api_house.size()
    raw = sent if isinstance(sent, bytes) else sent.encode("ascii")
    headers = {b"x-purpose-of-use": b"ETREAT", b"x-justification": raw}
    token = api_house.tokens["clinician"].encode()
    path = f"/api/1/twins/{api_house.twins[0]}/records?category=psychiatry"
    answer = web.get(path, headers={**headers, b"authorization": b"Bearer " + token})  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    row = ask(web, "GET", f"/api/1/audit/events/{api_house.size() - 1}", api_house.tokens["officer"]).json()
    assert (row["purpose"], row["decision"]) == ("ETREAT", "permit")
    assert row["detail"]["justification"] == logged
    assert row["categories"] == [Category.PSYCHIATRY.value]
    assert api_house.size() > before


def test_header_and_query_mean_the_same_and_may_both_be_there(web: TestClient, api_house: House) -> None:
    glass = {"x-purpose-of-use": "ETREAT", "x-justification": WHY}
    assert records(web, api_house, glass).status_code == 200
    assert records(web, api_house, glass, f"&purpose=ETREAT&justification={quote(WHY)}").status_code == 200
    assert records(web, api_house, {}, f"&purpose=ETREAT&justification={quote(CHINESE)}").status_code == 200
    assert records(web, api_house, {"x-purpose-of-use": "HRESCH"}).status_code == 403
    assert records(web, api_house, {"x-purpose-of-use": "ETREAT"}).status_code == 403
