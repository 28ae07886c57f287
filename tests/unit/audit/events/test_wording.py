"""Every action and purpose has words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twinward.audit.events.wording import PURPOSES, deed, event_sentence, row_sentence
from twinward.audit.models import AccessEvent, AuditRow, RowState
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward_ledger.formats.leaf import LeafKind

EVENT = AccessEvent(
    at_ms=1_767_225_600_000,
    agent="dr-lee",
    role=Role.CLINICIAN,
    unit="cardiology",
    action=Action.READ,
    purpose=Purpose.TREATMENT,
    twin=TwinId("00000000-0000-7000-8000-000000000001"),
    categories=(Category.LABS, Category.VITALS),
    decision="permit",
    reason="clinicians may",
    policy_hash="",
    consent_version=2,
)


def test_a_sentence_says_who_did_what_of_whom_and_why() -> None:
    assert event_sentence(EVENT) == "dr-lee (clinician, cardiology) read labs, vitals of one twin for treatment"
    refused = replace(EVENT, decision="deny", unit="", twin=None, categories=())
    assert event_sentence(refused) == "dr-lee (clinician) tried to read for treatment"


@pytest.mark.parametrize(
    ("detail", "decision", "said"),
    [
        ({"account": "petra", "change": "token 2 revoked"}, "permit", "changed the account petra (token 2 revoked)"),
        ({"account": "petra"}, "permit", "looked at the account petra"),
        ({"list": "accounts"}, "permit", "looked at accounts"),
        ({"change": "taken over", "accounts": "petra (clinician)"}, "permit", "changed accounts (taken over)"),
        ({"account": "petra"}, "deny", "tried to look at or change the account petra"),
    ],
)
def test_a_sentence_says_what_was_done_to_an_account(detail: dict[str, str], decision: str, said: str) -> None:
    facts = (*detail.items(), ("via", "console"), ("address", "192.0.2.7"))
    event = replace(EVENT, action=Action.ACCOUNT, twin=None, categories=(), decision=decision, detail=facts)
    assert event_sentence(event) == f"dr-lee (clinician, cardiology) {said} for treatment"


def test_only_events_of_accounts_say_so() -> None:
    assert event_sentence(replace(EVENT, detail=(("change", "mine"), ("account", "petra")))) == event_sentence(EVENT)


@pytest.mark.parametrize("decision", ["permit", "deny"])
def test_every_action_and_purpose_has_words(decision: str) -> None:
    assert set(PURPOSES) == set(Purpose)
    for action in Action:
        assert deed(replace(EVENT, action=action, decision=decision))


@pytest.mark.parametrize("state", [RowState.ERASED, RowState.DAMAGED])
def test_a_row_without_content_says_what_became_of_it(state: RowState) -> None:
    assert row_sentence(AuditRow(3, LeafKind.ACCESS, 1_767_225_600_000, state, None, None))
