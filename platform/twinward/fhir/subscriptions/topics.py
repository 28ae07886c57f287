"""What may be subscribed to. R4 has no SubscriptionTopic: the CapabilityStatement lists the canonical URLs.

https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/components.html#subscription-topics-in-r4.
"""

from __future__ import annotations

from dataclasses import dataclass

from twinward.fhir.resource_types import R4_TYPES, SHARED_TYPES

ANY_TYPE = "Resource"
"""The type that a filter of a topic of several types names."""

_OWNER = ("patient", "subject")
_CODED = (*_OWNER, "category", "code")


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: a version of a resource of these types was stored, a deletion among them.

    Attributes:
        name: the last part of its canonical URL.
        types: of what resources.
        filter_type: the type that filters name.
        filters: the search parameters that they may have.
    """

    name: str
    types: frozenset[str]
    filter_type: str
    filters: tuple[str, ...]

    @property
    def url(self) -> str:
        """Its canonical URL."""
        return f"urn:twinward:subscription-topic:{self.name}"


def _of(resource_type: str, *filters: str) -> Topic:
    return Topic(resource_type.lower(), frozenset({resource_type}), resource_type, filters)


TOPICS = {
    one.url: one
    for one in (
        Topic("record", R4_TYPES - SHARED_TYPES - {"Bundle", "Subscription"}, ANY_TYPE, _OWNER),
        _of("Patient", "_id"),
        _of("Observation", *_CODED),
        _of("Condition", *_CODED),
        _of("Encounter", *_OWNER, "class", "type"),
    )
}
"""By canonical URL."""
