"""Schemathesis against the whole OpenAPI document: every route, as several kinds of caller, every check it has.

The engine runs its phases (examples, coverage of every constraint and its violation, fuzzing) on the real application
over a real node. ``positive_data_acceptance`` is relaxed where no JSON schema can say what is acceptable: a FHIR
resource, the ciphertext of a query, a moment of a twin's history that has to exist, a purpose that must not be another
one in the header than in the query.

A walk along links (``twinward.api.openapi`` writes them) goes from what was created to reads, versions, history,
updates and deletion of it. No JSON schema makes a FHIR resource that is acceptable, so the bodies of writes are put in,
and a request that was meant to be wrong may be right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from tests.integration.console.fixtures import House, build
from twinward.api.app import create_app

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning")

schemathesis.serializer.alias(
    ["application/fhir+ndjson", "application/ndjson", "application/x-ndjson"], "application/json"
)

_MAY_BE_REFUSED = ["2xx", "3xx", "400", "401", "403", "404", "409", "410", "412", "413", "428", "429", "503"]
_TYPE = "/fhir/{resource_type}"
_RESOURCE = _TYPE + "/{resource_id}"
_REFUSED = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "5xx"]  # its own + 413
_LINES = "^/api/1/readings$"
_BEYOND_SCHEMAS = "^/(fhir|api/1/|oauth/)"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("schemathesis") / "home", patients=2)
    yield built
    built.node.close()


@pytest.fixture(scope="module")
def app(house: House) -> FastAPI:
    return create_app(house.node)


def configured(token: str, *, examples: int, coverage: bool) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": 20260101,
            "headers": {"Authorization": f"Bearer {token}"} if token else {},
            "generation": {"max-examples": examples, "database": "none", "deterministic": True, "no-shrink": True},
            "phases": {"stateful": {"enabled": False}, "coverage": {"enabled": coverage}},
            "operations": [
                {
                    "include-path-regex": _LINES,  # any text is lines, and each of them is answered
                    "checks": {
                        "negative_data_rejection": {"enabled": False},
                        "positive_data_acceptance": {"expected-statuses": _MAY_BE_REFUSED},
                    },
                },
                {
                    "include-path-regex": _BEYOND_SCHEMAS,
                    "checks": {
                        "negative_data_rejection": {"expected-statuses": _REFUSED},
                        "positive_data_acceptance": {"expected-statuses": _MAY_BE_REFUSED},
                    },
                },
            ],
        }
    )


def failures(app: FastAPI, config: SchemathesisConfig) -> tuple[int, list[str]]:
    """How many requests were made, and what was wrong with the answers, each kind once."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
    made, found = walked(schema)
    return made.total(), found


def walked(schema: Any) -> tuple[Counter[str], list[str]]:
    """The requests made, each route with its status by ``METHOD path status`` (``>`` before those that a link led to),
    and what was wrong with the answers, each kind once."""
    made, found = Counter[str](), dict[str, str]()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.setdefault(f"{event}", "the engine could not go on")
        if not isinstance(event, events.ScenarioFinished):
            continue
        for case_id, checks in event.recorder.checks.items():
            node = event.recorder.cases[case_id]
            case = node.value
            answered = event.recorder.interactions.get(case_id)
            status = answered.response.status_code if answered and answered.response else 0
            made[f"{'> ' if node.parent_id else ''}{case.method} {case.path} {status}"] += 1
            for check in checks:
                if check.failure_info is not None:
                    name = f"{check.name} {case.method} {case.path}: {check.failure_info.failure}"
                    found.setdefault(name, check.failure_info.code_sample)
    return made, [f"{name}\n{sample}" for name, sample in found.items()]


def along_links(app: FastAPI, token: str, examples: int, seed: int) -> Any:
    """A schema whose engine goes along links, with an Observation of a patient as the body of every write."""
    beyond = {"positive_data_acceptance": {"expected-statuses": _MAY_BE_REFUSED}}
    settings = {
        "seed": seed,
        "headers": {"Authorization": f"Bearer {token}"},
        "generation": {"max-examples": examples, "database": "none", "deterministic": False, "no-shrink": True},
        "checks": {"negative_data_rejection": {"enabled": False}},
        "phases": {name: {"enabled": False} for name in ("examples", "coverage", "fuzzing")},
        "operations": [
            {
                "include-path-regex": "/_history(/|$)",  # it, and each version in it, outlives what it tells of
                "checks": {"use_after_free": {"enabled": False}} | beyond,
            },
            {"include-path-regex": _BEYOND_SCHEMAS, "checks": beyond},
        ],
    }
    asked = TestClient(app).get("/fhir/Patient?_count=1", headers={"Authorization": f"Bearer {token}"})
    patient = asked.json()["entry"][0]["resource"]["id"]
    body = {"resourceType": "Observation", "status": "final", "code": {"text": "pulse"}}
    body |= {"subject": {"reference": f"Patient/{patient}"}}
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app, config=SchemathesisConfig.from_dict(settings))

    @schema.hooks.hook("map_case")
    def with_a_resource(context: Any, case: Any) -> Any:
        if (case.method, case.path) in (("POST", _TYPE), ("PUT", _RESOURCE)):
            case.path_parameters["resource_type"] = "Observation"
            case.query, case.media_type = {}, "application/fhir+json"
            case.headers = {"Content-Type": case.media_type}
            case.body = body | ({"id": case.path_parameters["resource_id"]} if case.method == "PUT" else {})
        elif case.path.startswith(_RESOURCE):
            case.query, case.headers = {}, {}  # what else may be asked and refused, fuzzing tries
        return case

    return schema


@pytest.mark.slow
def test_links_lead_from_what_was_created(app: FastAPI, house: House) -> None:
    """Ids and versions are drawn anew by the node, so no seed walks the same way twice: walks go on, each checked
    whole, until together they came everywhere."""
    reached = {
        *(f"> GET {_RESOURCE} 200", f"> GET {_RESOURCE}/_history 200", f"> PUT {_RESOURCE} 200"),
        *(f"> GET {_RESOURCE}/_history/{{version_id}} 200", f"> DELETE {_RESOURCE} 204"),
    }
    walks = Counter[str]()
    for seed in range(20260101, 20260113):
        made, found = walked(along_links(app, house.tokens["clinician"], examples=80, seed=seed))
        assert not found, "\n".join(found)
        walks += made
        if reached <= walks.keys():
            return
    pytest.fail(f"no walk came to {sorted(reached - walks.keys())}:\n" + "\n".join(sorted(walks)))


def test_links_are_written(app: FastAPI) -> None:
    responses = app.openapi()["paths"][_TYPE]["post"]["responses"]
    assert set(responses["201"]["links"]) == {"read", "vread", "history", "update", "delete"}
    assert "text/json" in responses["201"]["content"]


def test_a_glance_at_every_route(app: FastAPI, house: House) -> None:
    made, found = failures(app, configured(house.tokens["clinician"], examples=1, coverage=False))
    assert not found, "\n".join(found)
    assert made >= len(app.openapi()["paths"])


@pytest.mark.slow
@pytest.mark.parametrize("who", ["clinician", "officer", "vendor"])
def test_every_route_keeps_its_word(app: FastAPI, house: House, who: str) -> None:
    made, found = failures(app, configured(house.tokens[who], examples=3, coverage=True))
    assert not found, "\n".join(found)
    assert made > 500


def test_a_fault_would_be_found(tmp_path: Path) -> None:
    """The harness itself: an application that breaks its word is caught."""
    liar = FastAPI()

    @liar.get("/number")
    def number() -> int:
        raise ValueError("not today")

    assert failures(liar, configured("", examples=3, coverage=False))[1]
