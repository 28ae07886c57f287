"""Whether a Condition on record is a case, of what, and on which day.

* **The day** is ``recordedDate``, as it is written there; where that is absent, the day of the onset. A disease that
  began earlier comes to light when somebody writes it down, and a day that was released is never counted anew. A
  Condition without a whole date counts on no day.
* **Not counted**: entered in error, refuted (``verificationStatus``), and what carries a ``modifierExtension``, which
  may turn its meaning around. Provisional and unconfirmed ones count: to watch is to be early. So do those that are
  over, which were a case on their day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import msgspec

from twinward.outbreak.agreement import PeriodTerms
from twinward.outbreak.syndromes import SYNDROMES

_NOT_SO: Final = frozenset({"entered-in-error", "refuted"})


@dataclass(frozen=True, slots=True)
class Case:
    """A Condition that is a case of one syndrome or more on a day."""

    day: date
    syndromes: frozenset[str]


def case_of(content: bytes) -> Case | None:
    """What a Condition's JSON says; None where it is no case, or cannot be read."""
    try:
        said = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("resourceType") != "Condition" or "modifierExtension" in said:
        return None
    if any(code in _NOT_SO for _, code in _codings(said.get("verificationStatus"))):
        return None
    codings = _codings(said.get("code"))
    found = frozenset(name for name, one in SYNDROMES.items() if any(one.holds(*coding) for coding in codings))
    day = _day_of(said)
    return Case(day, found) if found and day is not None else None


def new_cases(
    terms: PeriodTerms, contents: Iterable[bytes], counted: Mapping[str, int], first: int, last: int
) -> dict[str, int]:
    """One patient's first day of each syndrome that was not counted yet, among the days ``first`` to ``last``.

    Args:
        terms: of the period.
        contents: the patient's Conditions.
        counted: the syndromes that this patient was counted for in the period before, each with the day.
        first, last: days of the period that are being counted.
    """
    found: dict[str, int] = {}
    for content in contents:
        case = case_of(content)
        if case is None or not first <= (day := terms.day_of(case.day)) <= last:
            continue
        for name in case.syndromes.intersection(terms.syndromes):
            if name not in counted:
                found[name] = min(day, found.get(name, day))
    return found


def _codings(concept: Any) -> Sequence[tuple[str, str]]:
    codings = concept.get("coding") if isinstance(concept, dict) else None
    if not isinstance(codings, list):
        return []
    pairs = [(one.get("system"), one.get("code")) for one in codings if isinstance(one, dict)]
    return [(system if isinstance(system, str) else "", code) for system, code in pairs if isinstance(code, str)]


def _day_of(said: Mapping[str, Any]) -> date | None:
    period = said.get("onsetPeriod")
    onset = period.get("start") if isinstance(period, dict) else said.get("onsetDateTime")
    written = said.get("recordedDate", onset)
    try:
        return date.fromisoformat(written[:10]) if isinstance(written, str) and len(written) >= 10 else None
    except ValueError:
        return None
