"""Coded features: conditions, medications and procedures that a hospital publishes as named value sets.

A code list is public and names no patient, as a feature schema. Each entry is a value set: codes with their system, a
code that ends in ``*`` for everything below it in a classification whose codes are nested (ICD-10, ATC), and
``includes`` for other entries of the list: a hierarchy. A hospital's own list is a TOML file of the same form as
``code_lists/cardiometabolic.toml``, whose entries may take their codes from FHIR value sets (``value_sets``).

What is known of one entry for one patient is a level: ``NEVER`` recorded, ``PAST``, ``CURRENT``, or ``UNKNOWN`` where
the patient was taken in before there was such a list.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum
from functools import cached_property
from importlib import resources
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twinward.core.errors import BadInput
from twinward.features.value_sets import Load, with_value_sets

MAX_FEATURES: Final = 512
MAX_CODES: Final = 20_000
MAX_INCLUDES: Final = 4096
"""Of all features together: a list may come from a hospital that nobody trusts, and is walked once a feature."""
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Code = Annotated[str, Field(pattern=r"^[^\s|]{1,200}\|[A-Za-z0-9.\-_]{1,64}\*?$")]
"""``system|code``; with ``*`` at the end every code that begins so."""


class Kind(StrEnum):
    """What a coded feature is about, and so which resources tell of it."""

    CONDITION = "condition"
    MEDICATION = "medication"
    PROCEDURE = "procedure"


class Recorded(IntEnum):
    """What is known of a coded feature: its level. Of several records the highest that stands counts."""

    NEVER = 0
    PAST = 1
    CURRENT = 2
    UNKNOWN = 3


RECORDED_LEVELS: Final = len(Recorded)


class CodedFeature(BaseModel):
    """One value set.

    Attributes:
        url: the value set's canonical URL, where it has one.
        codes: what belongs to it, ``system|code``.
        includes: entries of the same list whose codes belong to it as well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    title: Annotated[str, Field(min_length=1, max_length=120)]
    kind: Kind
    url: Annotated[str, Field(max_length=200)] = ""
    codes: tuple[Code, ...] = ()
    includes: tuple[Name, ...] = ()


class CodeList(BaseModel):
    """The coded features of a hospital's cohorts, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = "none"
    version: int = 1
    features: Annotated[tuple[CodedFeature, ...], Field(max_length=MAX_FEATURES)] = ()

    @model_validator(mode="after")
    def _check(self) -> CodeList:
        by_name = {one.name: one for one in self.features}
        if len(by_name) != len(self.features):
            raise ValueError("a name stands twice")
        if sum(len(one.codes) for one in self.features) > MAX_CODES:
            raise ValueError(f"at most {MAX_CODES} codes")
        if sum(len(one.includes) for one in self.features) > MAX_INCLUDES:
            raise ValueError(f"at most {MAX_INCLUDES} inclusions")
        for one in self.features:
            for other in one.includes:
                if other not in by_name or by_name[other].kind is not one.kind:
                    raise ValueError(f"{one.name} includes {other}, which is no {one.kind} of this list")
            below = _below(by_name, one.includes)
            if any(other.name == one.name for other in below):
                raise ValueError(f"{one.name} includes itself")
            if not (one.codes or any(other.codes for other in below)):
                raise ValueError(f"{one.name} has no code")
        return self

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 hex of the list's JSON; empty for a list of nothing."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest() if self.features else ""

    def codes_of(self, feature: CodedFeature) -> frozenset[str]:
        """Every code of a feature, those of what it includes among them."""
        by_name = {one.name: one for one in self.features}
        return frozenset(code for one in (feature, *_below(by_name, feature.includes)) for code in one.codes)

    def telling(self, fact: str) -> tuple[str, ...]:
        """The names of the features that a coded fact (``fact_code``) tells of."""
        exact, prefixes = self._index
        found = set(exact.get(fact, ()))
        for size in prefixes:
            found.update(exact.get(fact[:size] + "*", ()))
        return tuple(sorted(found))

    @cached_property
    def _index(self) -> tuple[Mapping[str, frozenset[str]], tuple[int, ...]]:
        """The features by fact, and the lengths of facts that end in ``*``."""
        found: dict[str, set[str]] = {}
        for one in self.features:
            for code in self.codes_of(one):
                found.setdefault(f"{one.kind}:{code}", set()).add(one.name)
        sizes = sorted({len(fact) - 1 for fact in found if fact.endswith("*")})
        return {fact: frozenset(names) for fact, names in found.items()}, tuple(sizes)


NO_CODES: Final = CodeList()


def fact_code(kind: Kind, system: str, code: str) -> str:
    """What a coded fact is looked up by."""
    return f"{kind}:{system}|{code}"


def read_code_list(text: str, load: Load | None = None) -> CodeList:
    """A list from TOML: ``name``, ``version``, and a table a feature. Raises ``BadInput``, naming what is wrong.

    ``load`` gives the value sets that entries name by their file; without it none may be named.
    """
    try:
        told: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"not a code list: {error}", hint="it is TOML; see the page on similarity") from None
    except (ValueError, RecursionError):
        raise BadInput("not a code list: a number too long, or nested too deep") from None
    try:
        return CodeList.model_validate(told if load is None else with_value_sets(told, load))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"code list, {place or 'as a whole'}: {first['msg']}") from None


def cardiometabolic_codes() -> CodeList:
    """The list a new node starts with."""
    place = resources.files("twinward.features") / "code_lists" / "cardiometabolic.toml"
    return read_code_list(place.read_text(encoding="utf-8"))


def _below(by_name: Mapping[str, CodedFeature], included: Iterable[str]) -> list[CodedFeature]:
    """Features and all that they include, each once, by however many paths; a circle ends where it closes."""
    found: dict[str, CodedFeature] = {}
    waiting = list(included)
    while waiting:
        name = waiting.pop()
        if name not in found and name in by_name:
            found[name] = by_name[name]
            waiting += found[name].includes
    return list(found.values())
