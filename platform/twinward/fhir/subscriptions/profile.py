"""What a Subscription asks for, read by the backport profile; whatever is not served is refused by name, with its path.

https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/StructureDefinition-backport-subscription.html.

The one channel is the node's event stream: the subscriber comes and asks. The node calls no address that a subscriber
names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from twinward.core.clock import instant_ms
from twinward.core.errors import BadInput
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.search.matching import Criterion, all_true
from twinward.fhir.search.query import read_query
from twinward.fhir.subscriptions.topics import ANY_TYPE, TOPICS, Topic
from twinward.fhir.validation.validator import validate
from twinward.vault.interfaces import Record

GUIDE: Final = "http://hl7.org/fhir/uv/subscriptions-backport"
PROFILE: Final = f"{GUIDE}/StructureDefinition/backport-subscription"
_EXTENSION: Final = f"{GUIDE}/StructureDefinition/backport-"
CHANNEL_SYSTEM: Final = "urn:twinward:subscription-channel"
CHANNEL_CODE: Final = "event-stream"
MEDIA_TYPE: Final = "application/fhir+json"
CONTENTS: Final = ("empty", "id-only", "full-resource")
MAX_BYTES: Final = 16 * 1024
MAX_FILTERS: Final = 10
MOST_AT_ONCE: Final = 100
_USUAL_COUNT: Final = 20
_DAY_S: Final = 86_400
_STREAM = (
    "this node calls nobody: give channel.type the extension backport-channel-type with "
    f"{CHANNEL_SYSTEM}#{CHANNEL_CODE}, and GET Subscription/[id]/$stream"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A Subscription as it was understood.

    Attributes:
        topic: of what.
        patients: lists of ``Patient/id``; the subject is one of each.
        criteria: what must be true of a resource besides. Of a deletion nothing of the kind is true.
        content: ``empty``, ``id-only`` or ``full-resource``.
        heartbeat_s: of how much silence; 0 for never.
        timeout_s: within which a notification must be taken; 0 for any time.
        max_count: events in one notification.
        end_ms: when it ends; None for never.
    """

    topic: Topic
    patients: tuple[tuple[str, ...], ...]
    criteria: tuple[Criterion, ...]
    content: str
    heartbeat_s: int
    timeout_s: int
    max_count: int
    end_ms: int | None

    def matches(self, record: Record) -> bool:
        """Whether an opened version of a resource is one of those asked for."""
        return not self.criteria or (bool(record.content) and all_true(self.criteria, record))


def read_subscription(resource: JsonObject, *, statuses: tuple[str, ...]) -> Asked:
    """What a decoded Subscription asks for.

    Args:
        resource: anything that was decoded.
        statuses: which ``status`` it may have.

    Raises:
        InvalidResource: no Subscription of R4, or one that is not served; the path says where.
    """
    if validate(resource) != "Subscription":
        raise _refused("value", "resourceType", "is not the type of the address")
    if len(json.dumps(resource, default=str)) > MAX_BYTES:
        raise InvalidResource(Issue("too-long", "Subscription", f"a Subscription has {MAX_BYTES} bytes at most"))
    if resource["status"] not in statuses:
        raise _refused("value", "status", f"one of {', '.join(statuses)}: the rest is the server's to say")
    for name in ("contained", "modifierExtension"):
        if name in resource:
            raise _refused("not-supported", name, "is not looked at, and so not taken")
    channel = resource["channel"]
    _require_stream(channel)
    known = {"heartbeat-period": "valueUnsignedInt", "timeout": "valueUnsignedInt", "max-count": "valuePositiveInt"}
    bounds = _extensions(channel, "channel", known)
    topic = _topic(resource)
    patients, criteria = _filters(topic, resource.get("_criteria", {}))
    return Asked(
        topic,
        patients,
        criteria,
        _content(channel),
        _number(bounds, "heartbeat-period", 0, _DAY_S, 0),
        _number(bounds, "timeout", 0, _DAY_S, 0),
        _number(bounds, "max-count", 1, MOST_AT_ONCE, _USUAL_COUNT),
        _end(resource),
    )


def _topic(resource: JsonObject) -> Topic:
    topic = TOPICS.get(str(resource.get("criteria", "")))
    if topic is None:
        raise _refused("not-supported", "criteria", "is the canonical URL of a topic", f"one of {', '.join(TOPICS)}")
    return topic


def _require_stream(channel: JsonObject) -> None:
    """Refuse every channel but the event stream, and what is said of the others."""
    for name in ("endpoint", "_endpoint", "header", "_header", "modifierExtension"):
        if name in channel:
            raise _refused("not-supported", f"channel.{name}", "is not used, and so not taken", _STREAM)
    said = _extensions(channel.get("_type", {}), "channel.type", {"channel-type": "valueCoding"})
    if not said:
        raise _refused("not-supported", "channel.type", f"{channel.get('type', 'none')} is not served", _STREAM)
    path, coding = _only(said, "channel-type")
    if (coding.get("system"), coding.get("code")) != (CHANNEL_SYSTEM, CHANNEL_CODE):
        raise _refused("not-supported", path, "is not a channel of this node", _STREAM)


def _content(channel: JsonObject) -> str:
    if channel.get("payload") != MEDIA_TYPE:
        raise _refused("not-supported", "channel.payload", f"is {MEDIA_TYPE} here")
    said = _extensions(channel.get("_payload", {}), "channel.payload", {"payload-content": "valueCode"})
    if not said:
        hint = f"{_EXTENSION}payload-content: one of {', '.join(CONTENTS)}"
        raise _refused("required", "channel.payload", "has an extension that says how much is told", hint)
    path, content = _only(said, "payload-content")
    if content not in CONTENTS:
        raise _refused("code-invalid", path, f"is one of {', '.join(CONTENTS)}")
    return str(content)


def _filters(topic: Topic, criteria: JsonObject) -> tuple[tuple[tuple[str, ...], ...], tuple[Criterion, ...]]:
    said = _extensions(criteria, "criteria", {"filter-criteria": "valueString"}).get("filter-criteria", [])
    if len(said) > MAX_FILTERS:
        raise _refused("too-costly", "criteria", f"has {MAX_FILTERS} filters at most")
    patients: list[tuple[str, ...]] = []
    found: list[Criterion] = []
    for path, text in said:
        named, criteria_of_one = _filter(topic, path, text)
        patients += named
        found += criteria_of_one
    return tuple(patients), tuple(found)


def _filter(topic: Topic, path: str, text: str) -> tuple[tuple[tuple[str, ...], ...], tuple[Criterion, ...]]:
    """One ``Type?name=value&…``. Only what the topic lists is taken: no modifier, chain, include or page."""
    kind, _, rest = text.partition("?")
    hint = f"{topic.filter_type}?… with {', '.join(topic.filters)}"
    if kind != topic.filter_type:
        raise _refused("not-supported", path, "names another type than the topic's filters do", hint)
    try:
        pairs = parse_qsl(rest, keep_blank_values=True, strict_parsing=True, max_num_fields=MAX_FILTERS)
    except ValueError:
        pairs = []
    if not pairs:
        raise _refused("value", path, "is no search", hint)
    unknown = [name for name, _ in pairs if name not in topic.filters]
    if unknown:
        raise _refused("not-supported", path, f"the topic has no filter {unknown[0][:40]!r}", hint)
    try:
        query = read_query("Observation" if kind == ANY_TYPE else kind, pairs)
    except InvalidResource as error:
        raise _refused(error.issues[0].code, path, error.issues[0].message, hint) from None
    return query.named, query.filters


def _end(resource: JsonObject) -> int | None:
    if "end" not in resource:
        return None
    try:
        return instant_ms(str(resource["end"]))
    except BadInput as error:
        raise _refused("value", "end", str(error)) from None


_Said = dict[str, list[tuple[str, Any]]]
"""What extensions say: by the last part of their URL, each with its path."""


def _extensions(holder: JsonObject, path: str, known: Mapping[str, str]) -> _Said:
    """The backport's extensions on an element; those of others say nothing here."""
    found: _Said = {}
    for index, one in enumerate(holder.get("extension", ())):
        url, where = str(one["url"]), f"{path}.extension[{index}]"
        if not url.startswith(f"{GUIDE}/"):
            continue
        name = url.removeprefix(_EXTENSION)
        if name not in known:
            raise _refused("not-supported", f"{where}.url", "is not an extension that is looked at here")
        if known[name] not in one:
            raise _refused("value", where, f"has a {known[name]}")
        found.setdefault(name, []).append((f"{where}.{known[name]}", one[known[name]]))
    return found


def _only(said: _Said, name: str) -> tuple[str, Any]:
    if len(said[name]) > 1:
        raise _refused("structure", said[name][1][0], "is said twice")
    return said[name][0]


def _number(said: _Said, name: str, least: int, most: int, usual: int) -> int:
    if name not in said:
        return usual
    path, value = _only(said, name)
    if not least <= int(value) <= most:
        raise _refused("value", path, f"is {least} to {most} here")
    return int(value)


def _refused(code: str, path: str, message: str, hint: str = "") -> InvalidResource:
    text = f"{message}; {hint}" if hint else message
    return InvalidResource(Issue(code, f"Subscription.{path}", text))
