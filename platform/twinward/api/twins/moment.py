"""Which state of a twin a request is about: now, a revision, or a time. Ditto's names and shorter ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Header, Query

from twinward.core.errors import BadInput

_MOST = 2**53 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_TIME_CHARS = 40


@dataclass(frozen=True, slots=True)
class Moment:
    """At most one of them is set; neither is now."""

    revision: int | None = None
    at_ms: int | None = None


_Revision = Annotated[int | None, Query(ge=1, le=_MOST, description="The twin as it was at this revision.")]
_Time = Annotated[str | None, Query(max_length=_MAX_TIME_CHARS, description="The twin as it was then (RFC 3339).")]


def moment(
    at_revision: Annotated[_Revision, Query(alias="at-revision")] = None,
    at_time: Annotated[_Time, Query(alias="at-time")] = None,
    historical_revision: Annotated[_Revision, Query(alias="at-historical-revision")] = None,
    historical_timestamp: Annotated[_Time, Query(alias="at-historical-timestamp")] = None,
    header_revision: Annotated[int | None, Header(alias="at-historical-revision", ge=1, le=_MOST)] = None,
    header_timestamp: Annotated[str | None, Header(alias="at-historical-timestamp", max_length=_MAX_TIME_CHARS)] = None,
) -> Moment:
    """The moment a request names. Raises ``BadInput`` if it names two, or a time that is none."""
    revisions = {one for one in (at_revision, historical_revision, header_revision) if one is not None}
    times = {instant_ms(one) for one in (at_time, historical_timestamp, header_timestamp) if one is not None}
    if len(revisions) + len(times) > 1:
        raise BadInput("the request names several moments", hint="give one revision or one time")
    return Moment(next(iter(revisions), None), next(iter(times), None))


def instant_ms(text: str) -> int:
    """An RFC 3339 instant in milliseconds since 1970, rounded down. Raises ``BadInput``."""
    try:
        # In a query a plus sign stands for a space: the offset of a time that was not percent-encoded is mended.
        stamp = datetime.fromisoformat(text.replace(" ", "+"))
        if stamp.tzinfo is None:
            raise ValueError("no offset")
        since = stamp - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
    except (ValueError, OverflowError):
        raise BadInput("a time is an RFC 3339 instant with its offset", hint="e.g. 2026-01-31T08:30:00Z") from None
