"""OperationOutcome: how FHIR says what went wrong. https://hl7.org/fhir/R4/operationoutcome.html."""

from __future__ import annotations

from collections.abc import Sequence
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
from twinward.fhir.errors import InvalidResource, Issue, SeveralMatch
from twinward.twins.errors import RecordDeleted

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
