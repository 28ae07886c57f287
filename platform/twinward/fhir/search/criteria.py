"""Whether what was asked is true of an opened record."""

from __future__ import annotations

import json
from collections.abc import Sequence

from twinward.fhir.search.parameters import Parameter, matches, matches_date
from twinward.vault.interfaces import Record

Criterion = tuple[str, Parameter, str]
"""A parameter's name, what it looks at, and the value asked for."""


def all_true(criteria: Sequence[Criterion], record: Record) -> bool:
    """Whether every criterion is true of a record. Its moment is the server's, the rest its content says."""
    resource = json.loads(record.content) if criteria else {}
    moment = (record.committed_at_ms, record.committed_at_ms + 1)
    return all(
        matches_date(value, [moment]) if name == "_lastUpdated" else matches(parameter, value, resource)
        for name, parameter, value in criteria
    )
