"""Eligibility criteria as a recruiter writes them: a TOML file, or the same as Python values.

::

    title = "SGLT2 add-on"                      # stays here
    [[include]]
    feature = "hba1c_percent"
    from = 53
    to = 86
    unit = "mmol/mol"
    [[include]]
    condition = "type_2_diabetes"               # a name of the hospital's code list, a value set's URL, or system|code
    [[exclude]]
    medication = "insulin"
    state = "current"                           # current (default), past or ever
    [at_least]                                  # k of these; count = 1 is "or"
    count = 2
    [[at_least.of]]
    feature = "bmi"
    from = 30
    ...

Everything under ``include`` must hold and nothing under ``exclude``; of ``at_least`` so many points (one each), or of
``at_most`` no more than so many. What is not known does not meet an inclusion and is no exclusion, unless ``unknown``
says otherwise (``"include"`` or ``"exclude"``). ``known = true`` asks for nothing but that a value is known.

``where`` counts only entries with these values of the hospital's public facets, which the hospital sees::

    [where]
    site = "north"
    year = "2026"

What one additive score carries goes; a second group, or groups within groups, are refused with the reason.
"""

from __future__ import annotations

import tomllib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twinward.core.errors import BadInput
from twinward.features.codes import Kind

MAX_RULES = 256
MAX_FILE_BYTES = 1 << 20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Rule(_Part):
    """One criterion, about one feature or one coded feature.

    Attributes:
        feature: a numeric feature's name; then ``low`` (in TOML ``from``), ``high`` (``to``), or ``values``.
        condition, medication, procedure: a coded feature.
        unit: of the numbers, if another one than the feature's (UCUM).
        state: of a coded feature; ``current`` for conditions and medications, ``ever`` for procedures, if unsaid.
        unknown: what becomes of patients of whom it is not known.
        points: what it counts in ``at_least``.
    """

    feature: str | None = None
    condition: str | None = None
    medication: str | None = None
    procedure: str | None = None
    low: Annotated[float | None, Field(alias="from", allow_inf_nan=False)] = None
    high: Annotated[float | None, Field(alias="to", allow_inf_nan=False)] = None
    values: Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Field(max_length=64)] = ()
    unit: str = ""
    known: Literal[True] | None = None
    state: Literal["current", "past", "ever"] | None = None
    unknown: Literal["include", "exclude"] | None = None
    points: Annotated[int, Field(ge=1, le=16)] = 1

    @model_validator(mode="after")
    def _check(self) -> Rule:
        named = [one for one in (self.feature, self.condition, self.medication, self.procedure) if one is not None]
        if len(named) != 1:
            raise ValueError("name one of feature, condition, medication or procedure")
        ranged = self.low is not None or self.high is not None
        if self.feature is None:
            if ranged or self.values or self.unit or self.known:
                raise ValueError("from, to, values, unit and known are of numeric features; codes have a state")
        elif self.state is not None:
            raise ValueError("a state is of conditions, medications and procedures")
        elif ranged + bool(self.values) + bool(self.known) != 1:
            raise ValueError("give a range (from, to), values, or known = true")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("from is above to")
        return self

    @property
    def coded(self) -> tuple[Kind, str] | None:
        """The coded feature it is about; None for a numeric one."""
        given = {Kind.CONDITION: self.condition, Kind.MEDICATION: self.medication, Kind.PROCEDURE: self.procedure}
        return next(((kind, name) for kind, name in given.items() if name is not None), None)


class Group(_Part):
    """Some of several criteria."""

    count: Annotated[int, Field(ge=0, le=MAX_RULES)]
    of: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=MAX_RULES)]


class Criteria(_Part):
    """All criteria of a trial. ``where`` are public facets of entries, which the hospital sees: no criteria."""

    title: Annotated[str, Field(max_length=200)] = ""
    include: Annotated[tuple[Rule, ...], Field(max_length=MAX_RULES)] = ()
    exclude: Annotated[tuple[Rule, ...], Field(max_length=MAX_RULES)] = ()
    at_least: Group | None = None
    at_most: Group | None = None
    where: Annotated[dict[str, str], Field(max_length=8)] = {}

    @model_validator(mode="after")
    def _check(self) -> Criteria:
        if not (self.include or self.exclude or self.at_least or self.at_most):
            raise ValueError("there is no criterion: everybody would be counted")
        if self.at_least and self.at_most:
            raise ValueError(
                "at_least and at_most together need two scores, and an answer carries one: ask twice, or drop one"
            )
        return self

    @classmethod
    def read(cls, text: str) -> Criteria:
        """Criteria from TOML. Raises ``BadInput``, naming what is wrong."""
        try:
            told: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise BadInput(f"the criteria are no TOML: {error}") from None
        except (ValueError, RecursionError):
            raise BadInput("the criteria are no TOML that is read: a number too long, or nested too deep") from None
        return cls.of(told)

    @classmethod
    def of_json(cls, text: str) -> Criteria:
        """Criteria as ``twinward.protocol.contacts.criteria_json`` wrote them. Raises ``BadInput``."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            raise BadInput("these criteria cannot be read any more: this build writes them otherwise") from None

    @classmethod
    def of(cls, told: dict[str, Any]) -> Criteria:
        """Criteria from plain values, as in TOML. Raises ``BadInput``, naming what is wrong."""
        for name in ("at_least", "at_most"):
            if isinstance(told.get(name), list):
                raise BadInput(
                    f"{name} stands more than once: each group needs a score of its own, and an answer carries one",
                    hint="ask once for each, or put what must hold in any case under include",
                )
        try:
            return cls.model_validate(told)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            reason = first["msg"].removeprefix("Value error, ")
            nested = {"at_least", "at_most"} & {str(part) for part in first["loc"][1:]}
            if first["type"] == "extra_forbidden" and nested:
                reason = "groups within groups need several scores, and an answer carries one: ask for the parts"
            raise BadInput(f"criteria{', ' + place if place else ''}: {reason}") from None
