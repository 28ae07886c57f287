"""What could never be in force is refused where it is filed; what was stored before still loads."""

from __future__ import annotations

import pytest

from twinward.access.consent import Consent, Provision
from twinward.access.consent_entry import parse_provisions, require_in_force
from twinward.access.errors import ConsentInvalid
from twinward.core.vocabulary import Role

NOW_MS = 1_767_225_600_000


def role_of(account: str) -> Role | None:
    return {"dr-lee": Role.CLINICIAN, "acme": Role.VENDOR}.get(account)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "JSON list"),
        (b"{}", "JSON list"),
        (b"]}", "JSON list"),
        (b"[NaN]", "JSON list"),
        (b'[{"effect":"deny","roles":["vendor"],"roles":["clinician"]}]', "JSON list"),
        (b'[{"effect":"maybe"}]', "0.effect"),
        (b'[{"effect":"deny","who":"all"}]', "0.who"),
        (b'[{"effect":"deny","roles":["nurse"]}]', "0.roles.0"),
        (b'[{"effect":"deny","purposes":["hresch"]}]', "0.purposes.0"),
        (b'[{"effect":"deny","categories":["lab"]}]', "0.categories.0"),
        (b'[{"effect":"deny","categories":null}]', "0.categories"),
        (b'[{"effect":"deny","actors":[""]}]', "0.actors"),
        (b'[{"effect":"permit","categories":[]}]', "empty list"),
        (b'[{"effect":"deny","valid_from_ms":2000,"valid_until_ms":1000}]', "between 2000 and 2200"),
        (b'[{"effect":"deny","valid_until_ms":1890000000}]', "between 2000 and 2200"),
        (b'[{"effect":"deny","valid_from_ms":1767225600000000}]', "between 2000 and 2200"),
        (b'[{"effect":"deny","valid_from_ms":-1}]', "between 2000 and 2200"),
        (b'[{"effect":"deny","valid_until_ms":0}]', "between 2000 and 2200"),
        (b'[{"effect":"deny","valid_from_ms":1800000000000,"valid_until_ms":1800000000000}]', "ends before"),
        (b'[{"effect":"deny","valid_from_ms":1.8e12}]', "0.valid_from_ms"),
        (b'[{"effect":"deny","valid_from_ms":true}]', "0.valid_from_ms"),
        (b'[{"effect":"deny","valid_from_ms":"1800000000000"}]', "0.valid_from_ms"),
        (b'[{"effect":"deny"}' + b',{"effect":"deny"}' * 200 + b"]", "200 provisions"),
    ],
)
def test_what_can_only_be_a_slip_is_named(raw: bytes, told: str) -> None:
    with pytest.raises(ConsentInvalid, match=told) as refused:
        parse_provisions(raw)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("provision", "told"),
    [
        (Provision(effect="deny", actors=("dr-no",)), "no account 'dr-no'"),
        (Provision(effect="deny", actors=("Dr-Lee",)), "no account"),
        (Provision(effect="permit", actors=("dr-lee", "nobody")), "no account 'nobody'"),
        (Provision(effect="deny", roles=(Role.VENDOR,), actors=("dr-lee",)), "is a clinician"),
        (Provision(effect="deny", valid_until_ms=NOW_MS), "it ended at 2026-01-01"),
    ],
)
def test_what_names_nobody_or_is_over_is_refused(provision: Provision, told: str) -> None:
    with pytest.raises(ConsentInvalid, match=told):
        require_in_force((Provision(effect="permit"), provision), NOW_MS, role_of)


def test_what_can_come_into_force_is_taken() -> None:
    raw = (
        b'[{"effect":"deny","roles":[],"actors":["acme"],"valid_from_ms":0,"valid_until_ms":1800000000000},'
        b'{"effect":"permit","roles":["clinician"],"actors":["dr-lee"],"valid_from_ms":1790000000000}]'
    )
    provisions = parse_provisions(raw)
    require_in_force(provisions, NOW_MS, role_of)
    assert [one.effect for one in provisions] == ["deny", "permit"]
    assert parse_provisions(b"[]") == ()


def test_what_was_stored_under_looser_rules_still_loads() -> None:
    stored = b'{"version":3,"provisions":[{"effect":"deny","actors":["gone"],"valid_from_ms":5,"valid_until_ms":1}]}'
    assert Consent.model_validate_json(stored).version == 3
