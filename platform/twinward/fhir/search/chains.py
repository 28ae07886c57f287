"""Criteria on related resources: ``subject:Patient.name=…`` and ``_has:Observation:patient:code=…``.

https://hl7.org/fhir/R4/search.html#chaining, #has. A chain has one step. It stays within one patient's records and the
hospital's directory: what refers to another patient's record is not followed, for that would tell of both. Every
patient whose related resources are looked at is decided and logged, as one whose matches are shown; those that may not
be seen are as if they were not kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.mapping.categories import categories_of_type
from twinward.fhir.resource_types import R4_TYPES, SHARED_TYPES
from twinward.fhir.search.matching import all_true, check, references_in
from twinward.fhir.search.parameters import Parameter, alternatives, names_of, parameters_of
from twinward.fhir.search.representation import reference_of
from twinward.fhir.validation.validator import ID
from twinward.twins.read.search import RecordSearch
from twinward.vault.interfaces import Record

_SHOWN_CHARS = 80

_ALWAYS = {"patient": ("Patient",), "subject": ("Patient",), "encounter": ("Encounter",)}
_STAFF = ("Organization", "Practitioner", "PractitionerRole")
_TARGETS = {
    ("Encounter", "location"): ("Location",),
    ("Encounter", "participant"): ("Practitioner", "PractitionerRole"),
    ("Encounter", "service-provider"): ("Organization",),
    ("MedicationRequest", "medication"): ("Medication",),
    ("MedicationRequest", "requester"): (*_STAFF, "Patient"),
    ("Observation", "has-member"): ("Observation",),
    ("Observation", "performer"): (*_STAFF, "Patient"),
    ("Patient", "general-practitioner"): _STAFF,
    ("Patient", "organization"): ("Organization",),
    ("PractitionerRole", "location"): ("Location",),
    ("PractitionerRole", "organization"): ("Organization",),
    ("PractitionerRole", "practitioner"): ("Practitioner",),
}
"""What references are followed to, where it is not their name that says so."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One such criterion.

    Attributes:
        related: the type it is about.
        reference: by which what is searched points to what is related, or (``reverse``) the other way round.
        name, parameter, value: what must be true of what is related.
        named: strings under which blind tags find it; empty where only its content says.
    """

    related: str
    reference: Parameter
    name: str
    parameter: Parameter
    value: str = field(repr=False)
    reverse: bool = False
    named: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_shared(self) -> bool:
        """Whether it is about what the directory holds, and no patient."""
        return self.related in SHARED_TYPES

    def names_in(self, related: Iterable[Record]) -> frozenset[str]:
        """Out of related records: the ``Type/id`` that a match refers to, or (``reverse``) that it must have."""
        fitting = [one for one in related if all_true([(self.name, self.parameter, self.value)], one)]
        if not self.reverse:
            return frozenset(map(reference_of, fitting))
        return frozenset(name for one in fitting for name in references_in(self.reference, json.loads(one.content)))

    def holds(self, record: Record, names: frozenset[str]) -> bool:
        """Whether a record of the type searched is one of those that ``names_in`` means."""
        own = [reference_of(record)] if self.reverse else references_in(self.reference, json.loads(record.content))
        return not names.isdisjoint(own)


Known = dict[Chain, frozenset[str]]
"""What ``names_in`` found for each."""


@cache
def targets_of(resource_type: str) -> dict[str, tuple[str, ...]]:
    """The reference parameters of a type that are followed, and to which types."""
    known = parameters_of(resource_type)
    found = {name: _TARGETS.get((resource_type, name)) or _ALWAYS.get(name) for name in known}
    return {name: targets for name, targets in sorted(found.items()) if targets}


@cache
def reverse_of(resource_type: str) -> tuple[str, ...]:
    """What ``_has`` takes for a type, as ``Type:reference``. Of what is shared no patient is asked."""
    from_types = SHARED_TYPES if resource_type in SHARED_TYPES else R4_TYPES
    return tuple(
        f"{related}:{name}"
        for related in sorted(from_types)
        for name, targets in targets_of(related).items()
        if resource_type in targets
    )


def typed_reference(resource_type: str, name: str, value: str) -> tuple[str, str]:
    """``subject:Patient=23`` as ``subject=Patient/23``, which R4 says it is; any other parameter as it came."""
    reference, _, related = name.partition(":")
    asked = alternatives(value)
    if related not in targets_of(resource_type).get(reference, ()) or not all(map(ID.fullmatch, asked)):
        return name, value
    return reference, ",".join(f"{related}/{one}" for one in asked)


def read_chain(resource_type: str, name: str, value: str, *, base: str = "") -> Chain | None:
    """A parameter as a chain; None for one that is written as none.

    Args:
        resource_type: the type searched.
        name, value: the parameter.
        base: of this node: an address there is the relative reference.

    Raises:
        InvalidResource: one that is not served, or a value that cannot be one.
    """
    if name.startswith("_has:"):
        related, _, rest = name.removeprefix("_has:").partition(":")
        reference, _, asked = rest.partition(":")
        if f"{related}:{reference}" not in reverse_of(resource_type):
            raise _not_served(name, reverse_of(resource_type), "_has:", ":parameter")
        by, reverse = parameters_of(related)[reference], True
    elif "." in name:
        reference, _, asked = name.partition(".")
        reference, _, related = reference.partition(":")
        targets = targets_of(resource_type).get(reference, ())
        related = related or (targets[0] if len(targets) == 1 else "")
        if related not in targets:
            served = [f"{one}:{to}" for one, found in targets_of(resource_type).items() for to in found]
            raise _not_served(name, served, "", ".parameter")
        by, reverse = parameters_of(resource_type)[reference], False
    else:
        return None
    known = parameters_of(related)
    if asked not in known:
        text = (
            f"{name[:_SHOWN_CHARS]!r} is not served here: {related} has no such search parameter, or it is a step more"
        )
        raise InvalidResource(Issue("not-supported", "", text), hint=f"one of {', '.join(sorted(known))}")
    if known[asked].kind == "reference" and base:
        value = ",".join(one.removeprefix(f"{base}/") for one in alternatives(value))
    check(asked, known[asked], value)
    named = names_of(related, asked, value) or ()
    return Chain(related, by, asked, known[asked], value, reverse, () if related in SHARED_TYPES else named)


def _not_served(name: str, served: Sequence[str], before: str, after: str) -> InvalidResource:
    hint = ", ".join(f"{before}{one}{after}" for one in served) or "this type has none"
    issue = Issue("not-supported", "", f"{name[:_SHOWN_CHARS]!r} is not served here")
    return InvalidResource(issue, hint=f"one of {hint}")


@dataclass(frozen=True, slots=True)
class Chaining:
    """The walk that opens related resources before what is searched: only where they fit is it opened, too.

    ``directory`` is the twin of shared resources, None before there are any.
    """

    finding: RecordSearch
    directory: TwinId | None
    context: AccessContext

    def named(self, chains: Sequence[Chain]) -> list[TwinId] | None:
        """The patients that blind tags leave, by id; None where no chain names any. Opens nothing.

        That nobody is left is logged, as a refusal is.
        """
        found = [set[TwinId]().union(*map(self.finding.twins_of, chain.named)) for chain in chains if chain.named]
        if not found:
            return None
        left = set.intersection(*found) - {self.directory}
        if not left:
            self.finding.note_absence(self.context, Action.SEARCH)
        return sorted(left)

    def shared(self, chains: Sequence[Chain]) -> Known:
        """What the directory says of the chains that are about it."""
        twins = [] if self.directory is None else [self.directory]
        return {
            chain: chain.names_in(one for _, records in self._across(twins, chain.related) for one in records)
            for chain in chains
            if chain.is_shared
        }

    def matching(
        self, resource_type: str, chains: Sequence[Chain], known: Known, twins: Sequence[TwinId], *, at_once: bool
    ) -> Iterator[tuple[TwinId, list[Record]]]:
        """Each twin's records of a type that all chains hold for, twins in order, none left out.

        Args:
            resource_type: what is searched.
            chains: criteria on what is related.
            known: of the chains that are about shared resources.
            twins: all are decided in one durable step for each chain.
            at_once: so is what is searched; otherwise twin by twin, as it is asked for.
        """
        names = {twin: dict(known) for twin in twins}
        left = list(twins)
        for chain in chains:
            if not chain.is_shared:
                for twin, records in self._across(left, chain.related):
                    names[twin][chain] = chain.names_in(records)
                left = [twin for twin in left if names[twin][chain]]
        opening = self._across(left, resource_type) if at_once else self._one_by_one(left, resource_type)
        fitting = set(left)
        for twin in twins:
            records = next(opening)[1] if twin in fitting else []
            yield twin, [one for one in records if all(chain.holds(one, names[twin][chain]) for chain in chains)]

    def within(
        self, twin: TwinId, records: Sequence[Record], chains: Sequence[Chain], known: Known
    ) -> tuple[list[Record], frozenset[Category]]:
        """Those of a named twin's records that all chains hold for; also which categories were withheld to tell."""
        withheld: frozenset[Category] = frozenset()
        left = list(records)
        for chain in chains:
            names = known.get(chain)
            if names is None:
                related, hidden = self.finding.within_if_any(
                    self.context, twin, chain.related, categories_of_type(chain.related)
                )
                names, withheld = chain.names_in(related), withheld | hidden
            left = [one for one in left if chain.holds(one, names)]
        return left, withheld

    def _across(self, twins: Sequence[TwinId], resource_type: str) -> Iterator[tuple[TwinId, list[Record]]]:
        return self.finding.across(self.context, Action.SEARCH, twins, resource_type, categories_of_type(resource_type))

    def _one_by_one(self, twins: Sequence[TwinId], resource_type: str) -> Iterator[tuple[TwinId, list[Record]]]:
        for twin in twins:
            yield from self._across([twin], resource_type)
