"""From a person to a twin: by an identifier (a medical record number, say) or by name, with a reason, each an event.

An identifier is looked up through its blind tag and opens the twins that carry it, nobody else. There is no index of
names: whoever looks for a name opens one patient's demographics after the other, and each stands in the log as seen by
this officer for this reason; so an identifier is the better question.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec

from twinward.access import justification
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, Permit, Principal
from twinward.core.errors import BadInput
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.fhir.mapping.records import identifier_key
from twinward.node import Node
from twinward.vault.errors import NotReleased, TwinShredded

MOST_OPENED: Final = 1000
"""Patients whose demographics one look-up by name opens, at most."""
MOST_SHOWN: Final = 20
MAX_TEXT: Final = 100
_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Person:
    """Who a twin is of."""

    twin: TwinId
    name: str
    born: str
    gender: str
    identifiers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up came to.

    Attributes:
        people: who fits, at most ``MOST_SHOWN``.
        opened: how many patients' demographics were opened for it, each an event.
        left: how many patients were not looked at, because that many are opened at most.
    """

    people: tuple[Person, ...]
    opened: int
    left: int = 0


def look_up(node: Node, officer: Principal, *, identifier: str = "", name: str = "", reason: str) -> Found:
    """Find twins by an identifier or by a name.

    Raises:
        BadInput: neither or both are given, or the reason says nothing.
        AccessDenied: policy does not let this officer look people up; the refusal is in the log.
        Unavailable: the log could not be written: nothing was opened.
    """
    identifier, name, reason = identifier.strip(), " ".join(name.split()), justification.bounded(reason)
    if bool(identifier) == bool(name) or max(len(identifier), len(name)) > MAX_TEXT:
        hint = sentence("one of the two, at most {most} characters", most=MAX_TEXT)
        raise BadInput("a person is looked up by an identifier or by a name", hint=hint)
    if not justification.is_sufficient(reason):
        raise BadInput("a look-up needs a reason: one sentence that says why", hint="the patient it is about reads it")
    how = "identifier" if identifier else "name"
    context = AccessContext(officer, Purpose.COMPLIANCE, reason, (("page", f"person look-up by {how}"),))
    node.access.decide(context.request(Action.SEARCH, None, {Category.DEMOGRAPHICS}))
    if identifier:
        twins = sorted(node.twins.search.twins_of(identifier_key("Patient", None, identifier)))
        people = list(_opened(node, context, twins))
        return Found(tuple(people[:MOST_SHOWN]), len(people))
    return _named(node, context, name)


def _named(node: Node, context: AccessContext, name: str) -> Found:
    wanted = [_folded(word) for word in name.split()]
    directory = node.twins.directory()
    twins = [twin for twin in node.twins.all() if twin != directory]
    searched, fitting, opened = twins[:MOST_OPENED], [], 0
    for person in _opened(node, context, searched):
        opened += 1
        parts = [_folded(part) for part in person.name.split()]
        if all(any(part.startswith(word) for part in parts) for word in wanted):
            fitting.append(person)
    return Found(tuple(fitting[:MOST_SHOWN]), opened, len(twins) - len(searched))


def _opened(node: Node, context: AccessContext, twins: Sequence[TwinId]) -> Iterator[Person]:
    """Each twin's Patient, behind a permit of its own; whoever is shredded meanwhile is left out."""
    remaining = iter(twins)
    while batch := list(islice(remaining, _BATCH)):
        requests = [context.request(Action.SEARCH, twin, {Category.DEMOGRAPHICS}) for twin in batch]
        for permit in node.access.decide_permitted(requests):
            yield from _people(node, permit)


def _people(node: Node, permit: Permit) -> Iterator[Person]:
    twin = permit.request.twin
    try:
        records = node.vault.read_twin(permit, record_type="Patient")
    except (TwinShredded, NotReleased, AccessDenied):
        return
    for record in records[:1]:
        resource = msgspec.json.decode(record.content)
        if twin is not None and isinstance(resource, dict):
            yield _person(twin, resource)


def _person(twin: TwinId, patient: dict[str, Any]) -> Person:
    identifiers = [one.get("value") for one in _dicts(patient.get("identifier"))]
    return Person(
        twin=twin,
        name=human_name(patient),
        born=str(patient.get("birthDate", "")),
        gender=str(patient.get("gender", "")),
        identifiers=tuple(one for one in identifiers if isinstance(one, str))[:8],
    )


def human_name(resource: dict[str, Any]) -> str:
    """A resource's first HumanName as a line; empty where it has none."""
    for name in _dicts(resource.get("name")):
        given = name.get("given")
        parts = [*(given if isinstance(given, list) else ()), name.get("family")]
        said = " ".join(one for one in parts if isinstance(one, str)) or str(name.get("text", ""))
        if said:
            return said
    return ""


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _folded(text: str) -> str:
    """Letter case and accents aside."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char))
