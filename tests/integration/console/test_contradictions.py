"""What a study's protocol or a period's terms contradict themselves in is said in German on the page that takes them.

Each contradiction that the models know is made once, and the tables below are held against the source.
"""

from __future__ import annotations

import html
import json
from typing import Any, Final

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from tests.checks import refusals
from tests.integration.console.conftest import templates
from tests.integration.console.fixtures import House
from tests.integration.console.test_console import sign_in
from tests.integration.console.test_emergencies_page import csrf
from tests.integration.console.test_studies_page import invitation
from tests.integration.outbreak.region import terms
from twinward.console.pages import said
from twinward.console.viewer import Language, Viewer, viewed_by
from twinward.core.errors import BadInput
from twinward.federation.study import StudyProtocol
from twinward.outbreak.agreement import PeriodTerms

THREE: Final = ("a", "b", "c")
SIX: Final = ("a", "b", "c", "d", "e", "f")
SIGNAL: Final = {"name": "a", "low": 0, "high": 1}
GROUP: Final = {"name": "kidneys", "codes": ["http://hl7.org/fhir/sid/icd-10|N18"], "expected_patients": 9}
UNSEEN: Final = "http://hl7.org/\u202eicd|N18"


def signals(*signal: dict[str, object], **changes: object) -> dict[str, object]:
    return {"signals": {"name": "own", "steps": 4, "signal": list(signal) or [SIGNAL]} | changes, "bins": 4}


LONG: Final = {
    "disease_groups": [
        GROUP | {"name": f"g{n}", "codes": [f"{'x' * 200}|{code}" for code in range(200)]} for n in (1, 2)
    ]
}

STUDIES: Final[tuple[tuple[dict[str, Any], str], ...]] = (
    ({"hospitals": ("a", "b", "b")}, "hospitals: nennen Sie jedes Krankenhaus nur einmal"),
    ({"hospitals_per_patient": 4}, "niemand ist in mehr als diesen 3 Krankenhäusern"),
    ({"colluding": 2}, "höchstens 1 von 3 Krankenhäusern dürfen sich absprechen"),
    ({"spare_rounds": 1}, "spare_rounds: ohne dropouts nutzlos"),
    ({"hospitals": tuple(f"h{n}" for n in range(34)), "dropouts": 1}, "bei mehr als 33 Krankenhäusern"),
    ({"rounds": 2}, "rounds: dp-var ist eine einzige private Summe, also muss rounds 1 sein"),
    ({"signals": "icu-outcome"}, "logistic-warning sagt einen Ausgang vorher"),
    ({"bins": 5}, "muss die 48 Schritte der Signale teilen, also eines von 2, 3, 4, 6"),
    ({"delta": 1e-4, "expected_patients": 10_000}, "delta: muss unter 1/expected_patients liegen"),
    ({"hospitals": SIX, "rounds": 6, "group_size": 4}, "group_size: 3 (zwei ehrliche Mitglieder neben 1"),
    ({"hospitals": SIX, "rounds": 5, "group_size": 3}, "unterscheiden 6 Krankenhäuser in mindestens 6 Runden"),
    ({"hospitals": SIX, "rounds": 6, "group_size": 3, "dropouts": 1}, "Summen von Gruppen werden nicht versiegelt"),
    ({"detector": "lstm-autoencoder", "disease_groups": [GROUP]}, "ein Autoencoder hat keine Köpfe"),
    ({"hospitals": SIX, "rounds": 6, "group_size": 3, "disease_groups": [GROUP]}, "nicht zusammen mit group_size"),
    ({"disease_groups": [GROUP, GROUP]}, "disease_groups: nennen Sie jede Gruppe nur einmal"),
    ({"disease_groups": [GROUP | {"expected_patients": 2701}]}, "zusammen höchstens 2.700 expected_patients"),
    ({"disease_groups": [GROUP | {"codes": [UNSEEN]}]}, "Codes bestehen aus sichtbaren Zeichen"),
    ({"signals": "icu-2"}, "ein Schema dieses Namens liegt nicht bei; es gibt icu, icu-outcome, ecg, checkup"),
    (signals(SIGNAL | {"low": 1}), "a: low muss unter high liegen"),
    (signals(SIGNAL | {"title": "two\nlines"}), "a: title und unit sind sichtbare Wörter in einer Zeile"),
    (signals(SIGNAL | {"substance": "gold"}), "a: substance ist eines von "),
    (signals(SIGNAL, SIGNAL), "signals.signal: nennen Sie jedes Signal nur einmal"),
    (signals(SIGNAL | {"name": "label"}), "sind Spalten einer Datei und keine Signale"),
    (signals(SIGNAL | {"loinc": ["1-1"]}, SIGNAL | {"name": "b", "loinc": ["1-1"]}), "steht für ein einziges Signal"),
    (signals(SIGNAL | {"name": "outcome"}, SIGNAL), "outcome ist das letzte der Signale, die es vorhersagen"),
    (signals(*(SIGNAL | {"name": f"s{n}"} for n in range(33)), steps=1024), "mal Signale sind höchstens 32.768"),
)
"""Beside a valid study by dp-var: what contradicts itself, and what the page says."""

TOO_LONG: Final = (LONG, "signals: ein Protokoll hat höchstens 65.536 Bytes")
"""A form of the console takes no more than that either: it is refused elsewhere in the same words."""

PERIODS: Final[tuple[tuple[dict[str, Any], str], ...]] = (
    ({"syndromes": ["influenza", "influenza"]}, "hospitals, syndromes: nennen Sie jedes nur einmal"),
    ({"syndromes": ["hiccups"]}, "syndromes: aus "),
    ({"honest": 4}, "honest: nicht mehr, als es Krankenhäuser gibt"),
    ({"levels": 4}, "levels: ein Baum über 5 Tage hat 1 bis 3"),
    ({"first_day": "1969-12-31"}, "first_day: ein Tag ab 1970"),
    ({"code_lists": "0" * 64}, "code_lists: andere Codelisten als die"),
)

FAULTS: Final[tuple[tuple[dict[str, Any], str], ...]] = (
    ({"epsilon": 11}, "epsilon ist höchstens 10"),
    ({"clip": 0}, "clip ist mindestens 0.000001"),
    ({"hospitals": ["a"]}, "hospitals hat mindestens 3 Einträge"),
    ({"hospitals": "a"}, "hospitals ist eine Liste"),
    ({"hospitals": ["a", "b", "<b>"]}, "hospitals.2 ist nicht nach dem Muster "),
    ({"detector": "oracle"}, "zur Wahl stehen: 'lstm-autoencoder', 'dp-var', 'logistic-warning'"),
    ({f"<i>{n}": 1 for n in range(25)}, "<i>0 gehört nicht hinein"),
    ({f"x{n}": 1 for n in range(25)}, "; und 5 weitere"),
)
"""What no field of a protocol is, in the same words."""


def contradicted(model: type[BaseModel]) -> set[str]:
    """The templates of all that a model and what it is made of know as contradictory."""
    return {one for path in refusals.looked_at_by(model) for one in refusals.contradictions(path)}


def made(parse: Any, base: dict[str, Any], table: tuple[tuple[dict[str, Any], str], ...]) -> set[str]:
    found: set[str] = set()
    for changes, _ in table:
        with pytest.raises(BadInput) as refused:
            parse(base | changes)
        found.update(templates(refused.value.outside()[0]))
    return found


def test_the_tables_have_every_contradiction_that_there_is() -> None:
    study = StudyProtocol.for_dp_var("one", THREE).model_dump(mode="json")
    assert contradicted(StudyProtocol) <= made(StudyProtocol.parse, study, (*STUDIES, TOO_LONG))
    assert contradicted(PeriodTerms) <= made(PeriodTerms.parse, terms().model_dump(mode="json"), PERIODS)


def test_a_protocol_that_is_too_long_is_refused_in_german() -> None:
    changes, german = TOO_LONG
    with pytest.raises(BadInput) as refused:
        StudyProtocol.parse(StudyProtocol.for_dp_var("one", THREE).model_dump(mode="json") | changes)
    with viewed_by(Viewer(Language.GERMAN)):
        assert german in said(refused.value)


def said_in_german(web: TestClient, at: str, to: str, sent: dict[str, object]) -> str:
    """What the page refuses an invitation with."""
    form = {"invitation": json.dumps(sent), "csrf": csrf(web.get(at).text)}
    answer = web.post(to, data=form, headers={"accept-language": "de"})
    assert answer.status_code == 400, answer.status_code
    assert "<i>0" not in answer.text
    assert "<b>" not in answer.text
    page = html.unescape(answer.text)
    for english in ("hospitals may", "at most", "at least", "must ", "Value error", "should", "name each", "once"):
        assert english not in page.partition("<main")[2], english
    return page


def test_what_a_study_contradicts_itself_in_is_said_in_german_on_its_page(
    web: TestClient, console_house: House
) -> None:
    sign_in(web)
    sent = json.loads(invitation(console_house, "contradicted-1"))
    for changes, german in (*STUDIES, *FAULTS):
        study = StudyProtocol.for_dp_var("one", THREE).model_dump(mode="json") | changes
        assert german in said_in_german(web, "/console/studies", "/console/studies", sent | {"study": study})


def test_what_a_period_contradicts_itself_in_is_said_in_german_on_its_page(web: TestClient) -> None:
    sign_in(web)
    sent = {"kind": "twinward/outbreak-period/1", "roster": dict.fromkeys(THREE, "0" * 64), "coordinator": "a"}
    sent |= {"account": "0x" + "0" * 40, "proof": "0" * 128, "signature": "0" * 128}
    page = "/console/outbreaks"
    for changes, german in PERIODS:
        asked = {"terms": terms().model_dump(mode="json") | changes}
        assert german in said_in_german(web, page, f"{page}/invitation", sent | asked)
    for changes, german in (
        ({"proof": "x"}, "proof ist nicht nach dem Muster"),
        ({"more": 1}, "more gehört nicht hinein"),
    ):
        assert german in said_in_german(web, page, f"{page}/invitation", sent | {"terms": {}} | changes)
