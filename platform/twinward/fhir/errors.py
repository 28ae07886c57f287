"""FHIR's part of the error tree, and OperationOutcome, which says it (https://hl7.org/fhir/R4/operationoutcome.html).

TwinwardError
├── BadInput
│   └── InvalidResource        not a FHIR R4 resource this node takes; ``issues`` say where and why
├── NotFound
│   └── SubscriptionNotFound   no subscription of this account has this id
└── Conflict
    ├── SeveralMatch           a condition that must name one resource names several (HTTP 412)
    └── SubscriptionEnded      the subscription is off: nothing more will be told
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twinward.core.errors import (
    BadInput,
    Conflict,
    NotAcceptable,
    NotAuthenticated,
    NotFound,
    Refused,
    TwinwardError,
    Unavailable,
    UnsupportedMedia,
)
from twinward.twins.errors import RecordDeleted


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong, as an OperationOutcome will name it. Never carries a clinical value.

    Attributes:
        code: of the IssueType value set (``structure``, ``invalid``, ``value``, ``not-supported``, …).
        path: a FHIRPath-like place, e.g. ``Bundle.entry[3].resource.id``; empty where the whole document is meant.
        message: one sentence.
        severity: of the IssueSeverity value set.
    """

    code: str
    path: str
    message: str
    severity: str = "error"


class InvalidResource(BadInput):
    """Not a FHIR R4 resource this node takes. ``issues`` has at least one entry."""

    def __init__(self, *issues: Issue, hint: str = "") -> None:
        first = issues[0]
        where = f"{first.path}: " if first.path else ""
        more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
        super().__init__(f"{where}{first.message}{more}", hint=hint)
        self.issues = issues


class SeveralMatch(Conflict):
    """A condition that must name one resource names several. Nothing was written."""

    http_status = 412


class SubscriptionNotFound(NotFound):
    """No subscription of this account has this id: there is none, it ended with its account, or it is another's."""


class SubscriptionEnded(Conflict):
    """The subscription is off, or its end has come. Nothing more will be told."""


_CODES: tuple[tuple[type[TwinwardError], str], ...] = (
    (NotAcceptable, "not-supported"),
    (UnsupportedMedia, "not-supported"),
    (BadInput, "invalid"),
    (RecordDeleted, "deleted"),
    (NotFound, "not-found"),
    (SeveralMatch, "multiple-matches"),
    (Conflict, "conflict"),
    (NotAuthenticated, "login"),
    (Refused, "forbidden"),
    (Unavailable, "transient"),
)
"""IssueType codes, https://hl7.org/fhir/R4/valueset-issue-type.html."""


def operation_outcome(issues: Sequence[Issue]) -> dict[str, Any]:
    """An OperationOutcome of these issues (at least one)."""
    return {"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in issues]}


def outcome_of(error: TwinwardError) -> dict[str, Any]:
    """An OperationOutcome of a typed error. Its HTTP status is ``error.http_status``."""
    if isinstance(error, InvalidResource):
        return operation_outcome(error.issues)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "exception")
    message, hint = error.outside()
    text = f"{message}. {hint}" if hint else message
    return operation_outcome([Issue(code, "", text)])


def _issue(issue: Issue) -> dict[str, Any]:
    built: dict[str, Any] = {"severity": issue.severity, "code": issue.code, "diagnostics": issue.message}
    if issue.path:
        built["expression"] = [issue.path]
    return built
