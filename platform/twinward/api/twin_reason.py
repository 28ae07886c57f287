"""Why a caller wants a twin: stated in the query or in the headers that FHIR callers use, else the usual reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Header, Query

from twinward.errors import BadInput
from twinward.vocabulary import Purpose

MAX_CHARS = 500


@dataclass(frozen=True, slots=True)
class Reason:
    """Purpose of use, and what justifies breaking the glass."""

    purpose: Purpose
    justification: str


def reason(
    purpose: Annotated[Purpose | None, Query(description="HL7 v3 ActReason; TREAT unless given.")] = None,
    justification: Annotated[str, Query(max_length=MAX_CHARS)] = "",
    x_purpose_of_use: Annotated[str, Header(max_length=16)] = "",
    x_justification: Annotated[str, Header(max_length=MAX_CHARS)] = "",
) -> Reason:
    """The reason of a request. Raises ``BadInput`` for a purpose that is not known."""
    try:
        stated = Purpose(x_purpose_of_use) if x_purpose_of_use else None
    except ValueError:
        known = ", ".join(one.value for one in Purpose)
        raise BadInput("X-Purpose-Of-Use is not a purpose known here", hint=f"one of {known}") from None
    return Reason(purpose or stated or Purpose.TREATMENT, justification or x_justification)
