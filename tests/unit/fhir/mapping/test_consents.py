"""A consent as a FHIR Consent: what goes out is valid and comes back; what cannot be kept is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fhir.resources.R4B.consent import Consent as OracleConsent
from hypothesis import given
from hypothesis import strategies as st

from twinward.access.consent import Consent, Provision
from twinward.access.errors import ConsentInvalid
from twinward.core.errors import TwinwardError
from twinward.core.vocabulary import Category, Purpose, Role, TwinId
from twinward.fhir.mapping.consents import ACT_REASON, CATEGORY, PRINCIPAL, ROLE, TWIN, consent_resource, provisions_of
from twinward.fhir.validation.validator import validate

WHOSE = TwinId("0198c0de-0000-7000-8000-000000000001")
AT_MS = 1_780_000_000_000
TIMES = st.integers(946_684_800_000, 4_000_000_000_000)


@st.composite
def provisions(draw: st.DrawFn) -> Provision:
    start = draw(st.one_of(st.just(0), TIMES))
    end = draw(st.one_of(st.none(), st.integers(1, 10**11)))
    return Provision(
        effect=draw(st.sampled_from(["permit", "deny"])),
        roles=tuple(draw(st.lists(st.sampled_from(Role), unique=True, max_size=3))),
        actors=tuple(draw(st.lists(st.sampled_from(["dr-lee", "acme", "x.y-1"]), unique=True))),
        categories=tuple(draw(st.lists(st.sampled_from(Category), unique=True, max_size=4))),
        purposes=tuple(draw(st.lists(st.sampled_from(Purpose), unique=True, max_size=3))),
        valid_from_ms=start,
        valid_until_ms=None if end is None else max(start, 946_684_800_000) + end,
    )


@given(st.lists(provisions(), max_size=4))
def test_what_goes_out_is_a_consent_and_comes_back_as_it_was(said: list[Provision]) -> None:
    resource = consent_resource(Consent(version=3, provisions=tuple(said)), WHOSE, AT_MS)
    assert validate(resource) == "Consent"
    OracleConsent.model_validate(resource)
    assert provisions_of(json.loads(json.dumps(resource)), WHOSE) == tuple(said)


def written(**changes: Any) -> dict[str, Any]:
    resource = consent_resource(
        Consent(version=1, provisions=(Provision(effect="permit", categories=(Category.LABS,)),)), WHOSE, AT_MS
    )
    rule = resource["provision"]["provision"][0]
    for name, value in changes.items():
        place = rule if name in RULE else resource
        if value is None:
            place.pop(name)
        else:
            place[name] = value
    return resource


RULE = {"type", "period", "actor", "purpose", "class", "action", "securityLabel", "dataPeriod", "data", "code"}
RULE |= {"extension", "modifierExtension"}
NOBODY = {"role": {"text": "who"}, "reference": {"reference": "Practitioner/1"}}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"resourceType": "Patient"}, "no FHIR Consent"),
        ({"status": "proposed"}, "active"),
        ({"status": None}, "status"),
        ({"patient": {"identifier": {"system": TWIN, "value": "another"}}}, "another twin's"),
        ({"implicitRules": "http://a.example/rules"}, "implicitRules"),
        ({"provision": {"type": "permit"}}, "provision.type"),
        ({"provision": {"period": {"start": "2026-01-01"}}}, "provision.period"),
        ({"type": None}, "type"),
        ({"type": "perhaps"}, "type"),
        ({"action": [{"text": "access"}]}, "action"),
        ({"securityLabel": [{"code": "R"}]}, "securityLabel"),
        ({"dataPeriod": {"start": "2026-01-01"}}, "dataPeriod"),
        ({"code": [{"text": "glucose"}]}, "code"),
        ({"modifierExtension": [{"url": "http://a.example/not", "valueBoolean": True}]}, "modifierExtension"),
        ({"actor": [NOBODY]}, "actor[0]"),
        ({"actor": [NOBODY | {"reference": {"identifier": {"system": ROLE, "value": "king"}}}]}, "actor[0]"),
        ({"actor": [NOBODY | {"reference": {"identifier": {"system": PRINCIPAL}}}]}, "actor[0]"),
        ({"purpose": [{"system": ACT_REASON, "code": "MARKT"}]}, "purpose[0]"),
        ({"purpose": [{"code": "TREAT"}]}, "purpose[0]"),
        ({"class": [{"system": CATEGORY, "code": "everything"}]}, "class[0]"),
        ({"class": []}, "class"),
        ({"period": {"start": "2026-01-01"}}, "period.start"),
        ({"period": {"end": "2026-01-01T00:00:00"}}, "period.end"),
        ({"period": {"end": "1026-01-01T00:00:00Z"}}, "valid_until_ms"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    assert provisions_of(written(), WHOSE)
    with pytest.raises(TwinwardError) as refused:
        provisions_of(written(**changes), WHOSE)
    assert named in " ".join(refused.value.outside())


def test_an_exception_to_a_rule_is_no_broader_rule() -> None:
    resource = written()
    rule = resource["provision"]["provision"][0]
    rule["provision"] = [{"type": "deny", "class": rule["class"]}]
    with pytest.raises(ConsentInvalid, match="provision"):
        provisions_of(resource, WHOSE)


def test_a_consent_that_says_nothing_is_one() -> None:
    resource = written()
    del resource["provision"]
    assert provisions_of(resource, WHOSE) == ()
