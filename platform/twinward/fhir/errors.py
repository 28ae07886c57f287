"""FHIR's part of the error tree.

TwinwardError
├── BadInput
│   └── InvalidResource        not a FHIR R4 resource this node takes; ``issues`` say where and why
└── Conflict
    └── SeveralMatch           a condition that must name one resource names several (HTTP 412)
"""

from __future__ import annotations

from dataclasses import dataclass

from twinward.core.errors import BadInput, Conflict


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
