"""FHIR's straight way through FastAPI: whatever is asked, it is answered and logged as FastAPI itself does it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import Response

from tests.integration.console.fixtures import House, build
from twinward.api.app import create_app
from twinward.api.fhir.context import FhirRoute, told_in_fhir
from twinward.api.http.direct import DirectRoutes, straightened

KNOWN = "straight"
PATIENT = json.dumps({"resourceType": "Patient", "id": KNOWN}).encode()
OBSERVATION = json.dumps(
    {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": f"Patient/{KNOWN}"},
    }
).encode()
PATHS = (
    "/fhir", "/fhir/", "/fhir/metadata", "/fhir/metadata?_format=xml", "/fhir/Patient", "/fhir/Patient/",
    f"/fhir/Patient/{KNOWN}", f"/fhir/Patient/{KNOWN}/", f"/fhir/Patient/{KNOWN}?_summary=true",
    f"/fhir/Patient/{KNOWN}?_pretty=maybe", f"/fhir/Patient/{KNOWN}%0A", "/fhir/Patient/%00", "/fhir/Patient/a%2Fb",
    "/fhir/Patient/nobody", "/fhir/Patient/_search", "/fhir/Patient/$everything", f"/fhir/Patient/{KNOWN}/$everything",
    f"/fhir/Patient/{KNOWN}/_history", f"/fhir/Patient/{KNOWN}/_history/1", f"/fhir/Patient/{KNOWN}/_history/x",
    "/fhir/Patient/_history", "/fhir/_history", "/fhir/Observation", f"/fhir/Observation?patient={KNOWN}",
    "/fhir/Observation?nosuch=1", "/fhir/Starship/1", "/fhir/Subscription", "/fhir/Subscription/1", "/fhir/patient/1",
    "/fhir/$export", "/fhir/$export-jobs/none", "/fhir/Patient/$export", "/fhir/$import", "/nosuch", "/health",
)  # fmt: skip
HEADERS = (
    ("x-purpose-of-use", "TREAT"), ("x-purpose-of-use", "ETREAT"), ("x-purpose-of-use", "NOSUCH"),
    ("x-purpose-of-use", "T" * 33), ("x-purpose-of-use", ""), ("x-justification", "unconscious"),
    ("x-justification", "y" * 12_001), ("x-justification", "UTF-8''%ff"), ("if-match", 'W/"1"'), ("if-match", "what"),
    ("if-none-match", '"1"'), ("if-none-match", "*"), ("if-none-exist", f"_id={KNOWN}"), ("if-modified-since", "today"),
    ("accept", "text/html"), ("accept", "application/json"), ("accept-encoding", "identity;q=0"),
    ("accept-encoding", "gzip"), ("prefer", "return=minimal"), ("prefer", "p" * 257), ("content-encoding", "br"),
    ("content-type", "application/fhir+json"), ("content-type", "text/plain"), ("host", "elsewhere"),
)  # fmt: skip
METHODS = ("GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
BODIES = (b"", PATIENT, OBSERVATION, b"{", b"[" * 200, b"[]")
_OWN = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)|_history/\d+")
"""What differs between two that are created one after the other."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("direct") / "home")
    yield built
    built.node.close()


@pytest.fixture(scope="module")
def ways(house: House) -> Iterator[tuple[TestClient, TestClient]]:
    """The straight way, and FastAPI's own."""
    plain = create_app(house.node)
    plain.router.routes[:] = [one for one in plain.router.routes if not isinstance(one, DirectRoutes)]
    assert len(plain.router.routes) < len(create_app(house.node).router.routes)
    with TestClient(house.app, raise_server_exceptions=False) as one, TestClient(plain) as other:
        written = one.put(f"/fhir/Patient/{KNOWN}", content=PATIENT, headers=_bearer(house.tokens["system"]))
        assert written.status_code == 201, written.text
        yield one, other


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "content-type": "application/fhir+json"}


def _told(house: House, client: TestClient, asked: dict[str, Any]) -> tuple[Any, ...]:
    """What an answer says, and how many events the log has more."""
    before = house.node.audit.status().size
    answer = client.request(**asked, follow_redirects=False)
    headers = {
        name: _OWN.sub("-", value)
        for name, value in answer.headers.items()
        if name not in ("etag", "last-modified", "content-length")
    }
    return answer.status_code, headers, _OWN.sub("-", answer.text), house.node.audit.status().size - before


@settings(max_examples=60, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    path=st.sampled_from(PATHS),
    headers=st.lists(st.sampled_from(HEADERS), max_size=3),
    role=st.sampled_from(["system", "clinician", "clinician", "officer", "nobody", ""]),
    content=st.sampled_from(BODIES),
)
def test_whatever_is_asked_is_answered_and_logged_as_fastapi_does_it(
    house: House,
    ways: tuple[TestClient, TestClient],
    method: str,
    path: str,
    headers: list[tuple[str, str]],
    role: str,
    content: bytes,
) -> None:
    if method == "DELETE" and KNOWN in path:
        return  # the second would find nothing
    token = [("authorization", f"Bearer {house.tokens.get(role, 'no_one')}")] if role else []
    asked = {"method": method, "url": path, "headers": headers + token, "content": content}
    assert _told(house, ways[0], asked) == _told(house, ways[1], asked)


@pytest.mark.parametrize(("path", "role"), [(f"/fhir/Patient/{KNOWN}", "clinician"), ("/fhir/Observation", "system")])
def test_what_is_asked_most_goes_the_straight_way(
    house: House, ways: tuple[TestClient, TestClient], path: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    handle = DirectRoutes.handle

    async def noted(self: DirectRoutes, scope: Any, receive: Any, send: Any) -> None:
        taken.append(scope["route"].path_format)
        await handle(self, scope, receive, send)

    monkeypatch.setattr(DirectRoutes, "handle", noted)
    method, content = ("GET", b"") if role == "clinician" else ("POST", OBSERVATION)
    answer = ways[0].request(method, path, content=content, headers=_bearer(house.tokens[role]))
    assert (answer.status_code, len(taken)) == (200 if method == "GET" else 201, 1)


def test_a_stage_is_called_once_however_many_take_it_and_not_where_what_it_takes_is_wrong() -> None:
    calls: list[str] = []

    async def who(x_who: str = Header(max_length=3)) -> str:
        calls.append(x_who)
        return x_who

    def why(said: str = Depends(who)) -> str:
        return said.upper()

    router = APIRouter(route_class=FhirRoute)

    @router.get("/Patient/{number}")
    def read(request: Request, number: int, one: str = Depends(who), other: str = Depends(why)) -> Response:
        return Response(f"{request.method} {number} {one} {other}")

    app = FastAPI()
    app.router.routes.append(DirectRoutes(router.routes, told_in_fhir))
    client = TestClient(app)
    assert client.get("/Patient/7", headers={"x-who": "me"}).text == "GET 7 me ME"
    assert calls == ["me"]
    for path, headers, where in (
        ("/Patient/7", {"x-who": "nobody"}, "header.x-who"),
        ("/Patient/7", {}, "header.x-who"),
        ("/Patient/x", {"x-who": "me"}, "path.number"),
    ):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 400, answer.text
        assert where in answer.json()["issue"][0]["diagnostics"]
    assert calls == ["me", "me"]


def test_what_is_more_than_single_values_stays_with_fastapi() -> None:
    router = APIRouter()

    def gives() -> Iterator[int]:
        yield 1

    @router.get("/list")
    def of_list(several: Annotated[list[str], Header()]) -> Response:
        return Response(str(several))

    @router.get("/yields")
    def of_generator(number: int = Depends(gives)) -> Response:
        return Response(str(number))

    @router.get("/data")
    def of_data() -> dict[str, int]:
        return {}

    @router.post("/body")
    def of_body(content: dict[str, int]) -> Response:
        return Response(str(content))

    assert [straightened(route) for route in router.routes] == [None] * 4  # type: ignore[arg-type]
