"""Schemathesis against the whole OpenAPI document: every route, as several kinds of caller, every check it has.

The engine runs its phases (examples, coverage of every constraint and its violation, fuzzing) on the real application
over a real node. ``positive_data_acceptance`` is relaxed where no JSON schema can say what is acceptable: a FHIR
resource, the ciphertext of a query, a moment of a twin's history that has to exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from tests.integration.console.house import House, build
from twinward.api.app import create_app

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning")

schemathesis.serializer.alias(
    ["application/fhir+ndjson", "application/ndjson", "application/x-ndjson"], "application/json"
)

_MAY_BE_REFUSED = ["2xx", "3xx", "400", "401", "403", "404", "409", "410", "412", "413", "428", "429", "503"]
_BEYOND_SCHEMAS = "^/(fhir|api/1/twins|api/1/similarity)"


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
                    "include-path-regex": _BEYOND_SCHEMAS,
                    "checks": {"positive_data_acceptance": {"expected-statuses": _MAY_BE_REFUSED}},
                }
            ],
        }
    )


def failures(app: FastAPI, config: SchemathesisConfig) -> tuple[int, list[str]]:
    """How many requests were made, and what was wrong with the answers, each kind once."""
    made, found = 0, dict[str, str]()
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.setdefault(f"{event}", "the engine could not go on")
        if not isinstance(event, events.ScenarioFinished):
            continue
        for case_id, checks in event.recorder.checks.items():
            made += 1
            case = event.recorder.cases[case_id].value
            for check in checks:
                if check.failure_info is not None:
                    name = f"{check.name} {case.method} {case.path}: {check.failure_info.failure}"
                    found.setdefault(name, check.failure_info.code_sample)
    return made, [f"{name}\n{sample}" for name, sample in found.items()]


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
