"""Many reads at once, each by itself: what ``Twins.read_reference`` does for one, step by step for all.

They share what costs most: the look-up of where they are kept, the log's commit, and a look at accounts, consents and
policy before it and one after. Nothing else is shared: who asks is told of their own read only, and what one of them
raises is raised to whoever asked for that. A large record, which takes long to open, is left to whoever asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from twinward.access.interfaces import AccessContext, AccessControl, AccessRequest, Permit
from twinward.core.errors import TwinwardError, outcome_of, told
from twinward.core.one_look import one_look
from twinward.core.vocabulary import Action
from twinward.twins import references as names
from twinward.twins.errors import RecordDeleted, RecordNotFound
from twinward.twins.models import NOTHING_KEPT
from twinward.vault.errors import RecordLarge
from twinward.vault.interfaces import Place, Record, RecordVault

LARGE_BYTES: Final = 256 << 10
"""Sealed. One of this many is opened in some 20 ms; the largest that are kept take half a second, each."""


@dataclass(frozen=True, slots=True)
class Unopened:
    """A large record, left to whoever asked. That it was read is in the log already."""

    open: Callable[[], Record]
    """Raises as ``Twins.read_reference`` does by then."""


Opened = Record | Unopened
_Located = Place | TwinwardError | None


def read_each(
    vault: RecordVault, access: AccessControl, asked: Sequence[tuple[AccessContext, str]]
) -> list[Opened | Exception]:
    """The newest version of each record, or what ``Twins.read_reference`` raises for it. Raises nothing once logged."""
    located = _located(vault, {reference for _, reference in asked})
    places = [located[reference] for _, reference in asked]
    requests = [
        _request(context, place)
        for (context, _), place in zip(asked, places, strict=True)
        if not isinstance(place, TwinwardError)
    ]
    decided = iter(access.decide_each(requests))
    outcomes: dict[int, Opened | Exception] = {}
    with one_look():  # another one than before the log: what was taken away meanwhile opens nothing
        for number, place in enumerate(places):
            if isinstance(place, TwinwardError):
                outcomes[number] = place
                continue
            opening = partial(_opened, vault, place, next(decided))
            with told(outcomes, number):
                try:
                    outcomes[number] = opening(LARGE_BYTES)
                except RecordLarge:
                    outcomes[number] = Unopened(opening)
    return [outcomes[number] for number in range(len(asked))]


def _located(vault: RecordVault, references: Collection[str]) -> dict[str, _Located]:
    """Where each is kept; None where it is not."""
    found = outcome_of(partial(vault.locate_many, references))
    if not isinstance(found, TwinwardError):
        return {reference: found.get(reference) for reference in references}
    return {reference: outcome_of(partial(vault.locate, reference)) for reference in references}  # whose it is


def _request(context: AccessContext, place: Place | None) -> AccessRequest:
    if place is None:
        return context.request(Action.READ, detail=NOTHING_KEPT)
    return context.request(Action.READ, place.twin, place.categories)


def _opened(
    vault: RecordVault, place: Place | None, decided: Permit | TwinwardError, most_bytes: int | None = None
) -> Record:
    if isinstance(decided, TwinwardError):
        raise decided
    if place is None:
        raise RecordNotFound("no record is kept under this reference")
    record = vault.read(decided, place.record_id, most_bytes=most_bytes)
    if record.content == names.DELETED:
        raise RecordDeleted("this record was deleted", hint="its earlier versions are in its history")
    return record
