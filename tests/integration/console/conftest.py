from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.checks.catalogue import forms, messages
from tests.integration.console.fixtures import House, build
from twinward.console import pages
from twinward.console.viewer import in_words
from twinward.core.clock import FixedClock
from twinward.core.sentences import Sentence


def templates(said: object) -> Iterator[str]:
    """Of a sentence, of those that it was made of, and of what is said in one to be wrong: none of that is a name."""
    for name, value in said.values.items() if isinstance(said, Sentence) else ():
        yield from templates(value)
        if name in ("fault", "faults", "why") and not isinstance(value, Sentence):
            yield str(value)
    if isinstance(said, Sentence) and re.search(r"\w", re.sub(r"{\w+(!r)?}", "", said.template)):
        yield said.template


@pytest.fixture(scope="module", autouse=True)
def said_in_every_language() -> Iterator[None]:
    """Whatever any test here is refused with, on a page, stands in the catalogue, whichever room it came from."""
    known = {form for one in messages() for form in forms(one)}
    missing: set[str] = set()

    def told(said: str) -> str:
        parts = list(templates(said)) or ([said] if said in known else said.split("; "))
        missing.update(one for one in parts if one not in known and not one.startswith("twinward "))
        return in_words(said)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "in_words", told)
        yield
    said = ", ".join(sorted(missing - {""}))
    assert not said, f"{said}: write sentence(…) there, and name the room in tests/checks/refusals.py"


@pytest.fixture(scope="session")
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture(scope="session")
def console_house(tmp_path_factory: pytest.TempPathFactory, clock: FixedClock) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("console") / "home", patients=3, clock=clock)
    yield built
    built.node.close()


@pytest.fixture(scope="session")
def console_app(console_house: House) -> FastAPI:
    return console_house.app


@pytest.fixture
def web(console_app: FastAPI, clock: FixedClock) -> Iterator[TestClient]:
    """A new browser's cookies; a minute has passed, so that no earlier sign-in counts."""
    clock.advance(60_001)
    with TestClient(console_app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client
