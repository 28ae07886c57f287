"""Public facets of a cohort's entries: where a patient is looked after, and of which year the newest reading is.

A hospital declares each facet with all its values, in the clear and whoever is in the cohort, so that the list of
values tells nothing of a patient. A vendor may ask of one value alone (``where``); which patient has which is told to
nobody. What is unknown, or not among the values, has the level after the last one and can be asked for by no value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twinward.core.errors import BadInput

YEAR: Final = "year"
SITE: Final = "site"
MAX_VALUES: Final = 64
Value = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$")]
Sites: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
"""Names of sites, and what each is called in patients' records: references, identifiers."""
_SPAN = re.compile(r"([0-9]{4})-([0-9]{4})")


class Facet(BaseModel):
    """One facet: its name and every value it has. Both are public."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    values: Annotated[tuple[Value, ...], Field(min_length=1, max_length=MAX_VALUES)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"{self.name}: a value comes twice")
        return self

    def level(self, value: str) -> int:
        """A value's place; one more than the last for what is none of them."""
        return self.values.index(value) if value in self.values else len(self.values)


def years_facet(span: str) -> Facet:
    """The years of a span such as ``2019-2026``. Raises ``BadInput``."""
    found = _SPAN.fullmatch(span)
    first, last = (int(found[1]), int(found[2])) if found else (1, 0)
    if not 0 <= last - first < MAX_VALUES:
        raise BadInput("facet_years is a span of years", hint=f'such as "2019-2026", of at most {MAX_VALUES} years')
    return Facet(name=YEAR, values=tuple(str(year) for year in range(first, last + 1)))


def facets_of(years: str, sites: Sites) -> tuple[Facet, ...]:
    """What a hospital's settings declare. Raises ``BadInput``."""
    try:
        found = (Facet(name=SITE, values=tuple(name for name, _ in sites)),) if sites else ()
    except ValidationError:
        raise BadInput("facet_sites: each site has a name of its own, of plain letters, at most 64") from None
    return (*found, years_facet(years)) if years else found


def levels_of(facets: Sequence[Facet], sites: Sites, site: str, newest_ms: int) -> list[int]:
    """One patient's level of each facet.

    Args:
        site: what the patient's record calls it; empty where it says nothing.
        newest_ms: of the newest reading that counts, 0 where there is none.
    """
    name = next((name for name, called in sites if site and site in called), "")
    year = str(datetime.fromtimestamp(newest_ms / 1000, tz=UTC).year) if newest_ms else ""
    return [one.level({SITE: name, YEAR: year}.get(one.name, "")) for one in facets]


def require_known(facets: Sequence[Facet], where: Mapping[str, str]) -> None:
    """Raises ``BadInput`` for a facet or a value that was not declared, naming what there is."""
    known = {one.name: one for one in facets}
    for name, value in where.items():
        if name not in known:
            hint = f"there are: {', '.join(known)}" if known else "this hospital declares none"
            raise BadInput(f"there is no facet {name[:64]!r} here", hint=hint)
        if value not in known[name].values:
            raise BadInput(f"{name} has no value {value[:64]!r} here", hint=f"it has: {', '.join(known[name].values)}")
