"""A Subscription read by the backport profile: what it asks for, and what is refused by name and path."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.fhir.subscribing import EXTENSION, observation, subscription
from twinward.fhir.errors import InvalidResource
from twinward.fhir.subscriptions.profile import MAX_FILTERS, read_subscription


def extension(name: str, **value: Any) -> dict[str, Any]:
    return {"url": EXTENSION + name, **value}


@pytest.mark.parametrize(
    ("resource", "path", "code"),
    [
        (subscription() | {"criteria": "Observation?code=x"}, "criteria", "not-supported"),
        (subscription("no-such-topic"), "criteria", "not-supported"),
        (subscription() | {"status": "error"}, "status", "value"),
        (subscription() | {"status": "off"}, "status", "value"),
        (subscription() | {"end": "tomorrow"}, "end", "value"),
        *(
            (subscription(channel={"type": one, "_type": {"id": "x"}}), "channel.type", "not-supported")
            for one in ("rest-hook", "websocket", "email", "sms", "message")
        ),
        (subscription(channel={"endpoint": "http://169.254.169.254/"}), "channel.endpoint", "not-supported"),
        (subscription(channel={"header": ["Authorization: x"]}), "channel.header", "not-supported"),
        (subscription(channel={"payload": "application/fhir+xml"}), "channel.payload", "not-supported"),
        (subscription(channel={"_payload": {"id": "x"}}), "channel.payload", "required"),
        (subscription(content="everything"), "channel.payload.extension[0].valueCode", "code-invalid"),
        (
            subscription(channel={"extension": [extension("heartbeat-period", valueUnsignedInt=86_401)]}),
            "channel.extension[0].valueUnsignedInt",
            "value",
        ),
        (
            subscription(channel={"extension": [extension("max-count", valuePositiveInt=101)]}),
            "channel.extension[0].valuePositiveInt",
            "value",
        ),
        (
            subscription(channel={"extension": [extension("max-count", valueString="1")]}),
            "channel.extension[0]",
            "value",
        ),
        (
            subscription(channel={"extension": [extension("max-count", valuePositiveInt=1)] * 2}),
            "channel.extension[1].valuePositiveInt",
            "structure",
        ),
        (
            subscription(channel={"extension": [extension("no-such", valueCode="x")]}),
            "channel.extension[0].url",
            "not-supported",
        ),
        (
            subscription(channel={"_type": {"extension": [extension("channel-type", valueCoding={"code": "zulip"})]}}),
            "channel.type.extension[0].valueCoding",
            "not-supported",
        ),
    ],
)
def test_what_is_not_served_is_refused_by_name(resource: dict[str, Any], path: str, code: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        read_subscription(resource, statuses=("requested", "active"))
    issue = refused.value.issues[0]
    assert (issue.path, issue.code) == (f"Subscription.{path}", code)
    if path.startswith("channel.type") or path == "channel.endpoint":
        assert "$stream" in issue.message, "what to use instead"


@pytest.mark.parametrize(
    "text",
    [
        "Observation",
        "Observation?",
        "Observation?code",
        "Observation?code=",
        "Patient?_id=p",
        "Resource?patient=p",
        "observation?code=x",
        "Observation?_id=x",
        "Observation?code:not=x",
        "Observation?patient.name=Lee",
        "Observation?_has:Provenance:target:recorded=2020",
        "Observation?code=x&_include=*",
        "Observation?code=x&_count=0",
        "Observation?code=x&_cursor=abc",
        "Observation?code=x&patient=p%26subject=q&_summary=count",
        "Observation?patient=http://elsewhere.example/fhir/Patient/p",
        "Observation?patient=Patient/p/../q",
        "Observation?patient=" + ",".join(map(str, range(21))),
        "Observation?code=" + "x" * 1001,
        "Observation?" + "&".join(["code=x"] * 11),
    ],
)
def test_a_filter_is_a_plain_search_by_what_the_topic_lists(text: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        read_subscription(subscription("observation", text), statuses=("requested",))
    assert refused.value.issues[0].path == "Subscription.criteria.extension[0].valueString"


def test_what_it_asks_for_is_understood() -> None:
    extensions = [
        extension("heartbeat-period", valueUnsignedInt=60),
        extension("timeout", valueUnsignedInt=5),
        extension("max-count", valuePositiveInt=7),
        {"url": "https://elsewhere.example/extension", "valueString": "says nothing here"},
    ]
    said = subscription(
        "observation", "Observation?patient=p,q", "Observation?code=x", channel={"extension": extensions}
    )
    asked = read_subscription(said | {"end": "2026-01-01T00:00:00Z"}, statuses=("requested",))
    assert (asked.heartbeat_s, asked.timeout_s, asked.max_count) == (60, 5, 7)
    assert (asked.patients, len(asked.criteria)) == ((("Patient/p", "Patient/q"),), 1)
    assert (asked.content, asked.end_ms) == ("id-only", 1_767_225_600_000)
    usual = read_subscription(subscription(), statuses=("requested",))
    assert (usual.heartbeat_s, usual.timeout_s, usual.max_count, usual.end_ms) == (0, 0, 20, None)


def test_it_is_bounded_and_a_subscription() -> None:
    for resource in (
        subscription("observation", *["Observation?code=x"] * (MAX_FILTERS + 1)),
        subscription() | {"reason": "x" * 20_000},
        observation("one"),
    ):
        with pytest.raises(InvalidResource):
            read_subscription(resource, statuses=("requested",))
