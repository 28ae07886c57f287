"""An access event's bytes: RFC 8785, FHIR, and one form only."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.access_events import read_by_a_clinician
from twinward.audit.errors import EventNotLoggable
from twinward.audit.events import codec
from twinward.audit.models import AccessEvent
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward_crypto.canonical import canonicalize

EVENT = read_by_a_clinician(TwinId("01941f29-7c00-7000-8000-000000000001"))
NO_TWIN = replace(EVENT, twin=None, action=Action.QUERY, categories=(), agent="vendor-1", role=Role.VENDOR, unit="")

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
events = st.builds(
    AccessEvent,
    at_ms=st.integers(0, 4_000_000_000_000),
    agent=text,
    role=st.sampled_from(Role),
    unit=text,
    action=st.sampled_from(Action),
    purpose=st.sampled_from(Purpose),
    twin=st.none() | st.builds(TwinId, st.text("0123456789abcdef-", min_size=1, max_size=36)),
    categories=st.lists(st.sampled_from(Category), max_size=3, unique=True).map(tuple),
    decision=st.sampled_from(["permit", "deny"]),
    reason=text,
    policy_hash=st.text("0123456789abcdef", max_size=64),
    consent_version=st.integers(0, 2**31),
    detail=st.lists(st.tuples(text, text), max_size=3).map(tuple),
)


@given(events)
def test_event_bytes_are_rfc_8785(event: AccessEvent) -> None:
    """The quick writer against the general one."""
    assert codec.encode(event, "log.example") == canonicalize(codec.as_fhir(event, "log.example"))


WRITER = codec.EventWriter("log.example")
_CUTS = (
    '"recorded":"1970-01-01T00:00:00.000Z',
    '"what":{"identifier":{"system":"urn:twinward:twin","value":"-',
    '],"what":{"identifier":{"system":"urn:twinward:twin","value":"-',
    ']}],"outcome":',
)


@given(
    events,
    st.integers(0, 4_000_000_000_000),
    st.none() | st.builds(TwinId, text | st.sampled_from(_CUTS)),
    st.lists(st.tuples(text, text | st.sampled_from(_CUTS)), max_size=3).map(tuple),
)
def test_the_writer_of_many_writes_the_same(
    event: AccessEvent, at_ms: int, twin: TwinId | None, detail: tuple[tuple[str, str], ...]
) -> None:
    """Also of what it has written before, at another time, with other details and of another patient, however that
    is spelled."""
    later = replace(event, at_ms=at_ms)
    for one in (event, later, replace(later, twin=twin), replace(later, twin=twin, detail=detail), event):
        assert WRITER.encode(one) == codec.encode(one, "log.example")


@pytest.mark.parametrize("cut", _CUTS)
def test_texts_that_look_like_the_writers_cuts_are_texts(cut: str) -> None:
    for event in (EVENT, NO_TWIN):
        odd = replace(event, agent=cut, unit=cut, reason=cut, policy_hash=cut, detail=((cut, cut),))
        assert WRITER.encode(odd) == codec.encode(odd, "log.example")


@pytest.mark.parametrize(
    "wrong",
    [
        {"at_ms": -1},
        {"at_ms": 2**60},
        {"reason": "\ud800"},
        {"detail": (("why", "\ud800"),)},
        {"detail": (("\ud800", "why"),)},
        {"detail": (("why", object()),)},
        {"decision": "maybe"},
        {"reason": "x" * codec.MAX_EVENT_BYTES},
    ],
)
def test_the_writer_of_many_refuses_the_same(wrong: dict[str, Any]) -> None:
    event = replace(EVENT, **wrong)
    said = []
    for write in (WRITER.encode, lambda one: codec.encode(one, "log.example")):
        try:
            said.append(write(event).decode())
        except EventNotLoggable as refused:
            said.append(str(refused))
    assert said[0] == said[1]


@given(events)
def test_events_round_trip(event: AccessEvent) -> None:
    assert codec.decode(codec.encode(event, "log.example"), "log.example") == event


@given(
    st.recursive(
        st.none() | st.integers() | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    )
)
def test_other_json_is_no_event(value: Any) -> None:
    with pytest.raises(EventNotLoggable):
        codec.decode(json.dumps(value).encode(), "log.example")


@pytest.mark.parametrize("event", [EVENT, NO_TWIN, replace(EVENT, decision="deny", action=Action.SHRED)])
def test_events_are_valid_fhir(event: AccessEvent) -> None:
    from fhir.resources.R4B.auditevent import AuditEvent

    parsed = AuditEvent.model_validate_json(codec.encode(event, "log.example"))
    assert parsed.agent[0].requestor is True


def test_another_form_of_the_same_event_is_refused() -> None:
    data = codec.encode(EVENT, "log.example")
    for other in (data + b" ", json.dumps(json.loads(data)).encode(), data.replace(b"log.example", b"log.another")):
        with pytest.raises(EventNotLoggable):
            codec.decode(other, "log.example")


@pytest.mark.parametrize(
    "bad",
    [
        replace(EVENT, decision="maybe"),
        replace(EVENT, reason="x" * codec.MAX_EVENT_BYTES),
        replace(EVENT, agent="\ud800"),
        replace(EVENT, at_ms=10**18),
    ],
    ids=["decision", "too long", "lone surrogate", "year"],
)
def test_what_has_no_canonical_form_is_refused(bad: AccessEvent) -> None:
    with pytest.raises(EventNotLoggable):
        codec.encode(bad, "log.example")
