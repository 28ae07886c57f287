"""The ids that resources get here, and where imported ones come from: so that the same again is recognised.

A file that says ``POST`` asks for something new, so nothing in it is the same as anything kept, however alike it looks.
What makes it the same is an origin and an identifier within it: the id it is kept under is made of the two, so it is a
blind tag like any other name, and the same import finds it again in any process.

| entry | kept under | if that is kept already |
|---|---|---|
| PUT | its id | a new version |
| POST | an id of (origin, fullUrl, else ``Type/id``, else its place in the file) | ``--again`` must say |
| no request, no id | the same | ``--again`` must say |
| no request, fullUrl at another server's base | an id of (that base, ``Type/id``) | the same bytes: unchanged |
| no request, an id | its id; with ``--source`` an id of (source, ``Type/id``) | the same bytes: unchanged |

The origin is what the operator calls the source, else the SHA-256 of the file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

from twinward.core.clock import Clock
from twinward.core.errors import BadInput
from twinward.core.ids import uuid7, uuid8
from twinward.core.vocabulary import Again
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.mapping.bundle import Part
from twinward.fhir.resource_types import SHARED_TYPES
from twinward.twins.models import IfKept

MAX_SOURCE_CHARS = 200
_DOMAIN = "twinward/import"


@dataclass(frozen=True, slots=True)
class Origin:
    """What an import says of itself.

    Attributes:
        source: what the operator calls it; empty where nobody said.
        again: what becomes of what came from there before; None where nobody said.
        digest: of the file, as ``sha256:…``; empty where it cannot be known before it is read.
    """

    source: str = ""
    again: Again | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        if len(self.source) > MAX_SOURCE_CHARS or not self.source.isprintable() or self.source.startswith("sha256:"):
            hint = "a name such as ehr-north, or a URL"
            raise BadInput(f"a source has at most {MAX_SOURCE_CHARS} printable letters", hint=hint)

    @property
    def name(self) -> str:
        """What a report calls it."""
        return self.source or self.digest

    def of(self, content: bytes) -> Origin:
        """The same for one file."""
        return replace(self, digest=f"sha256:{hashlib.sha256(content).hexdigest()}")

    @property
    def if_kept(self) -> IfKept:
        """For what asks to be created."""
        return {Again.SKIP: IfKept.SKIP, Again.UPDATE: IfKept.UPDATE}.get(self.again or Again.NEW, IfKept.REFUSE)

    @property
    def if_other(self) -> IfKept:
        """For what is kept under a name of its own."""
        return {Again.SKIP: IfKept.SKIP, Again.UPDATE: IfKept.UPDATE}.get(self.again or Again.NEW, IfKept.REFUSE_OTHER)


def id_from(origin: str, identifier: str) -> str:
    """The id that a resource of this origin has here. Whoever has the very file can tell that it came from it."""
    return uuid8(_DOMAIN, origin, identifier)


class Naming(Protocol):
    """How a door names what comes in."""

    def name(self, part: Part) -> tuple[str, IfKept]:
        """The id of a resource that is to be created, or that no request speaks of; and what if it is kept."""
        ...

    def foreign(self, part: Part, reference: str, /) -> str | None:
        """What a relative reference to nothing in the bundle means here; None where that is what it says."""
        ...


@dataclass(frozen=True, slots=True)
class NewNames:
    """Those of a transaction: a create has an id of the node's own making, and every entry says what it asks for."""

    clock: Clock

    def name(self, part: Part) -> tuple[str, IfKept]:
        """A new id."""
        if not part.method:
            raise InvalidResource(Issue("required", f"{part.path}.request", "every entry says what to do"))
        return uuid7(self.clock.now_ms()), IfKept.REFUSE

    def foreign(self, _part: Part, _reference: str, /) -> str | None:
        """It is said to this server, so it means what is kept here."""
        return None


@dataclass(frozen=True, slots=True)
class OriginNames:
    """Those of an import: see ``twinward.fhir.mapping.ids``."""

    origin: Origin
    clock: Clock

    def name(self, part: Part) -> tuple[str, IfKept]:
        """By its origin and its identifier there."""
        own, origin = part.resource_id, self.origin
        is_new = part.method == "POST" or not own
        place = part.full_url or (f"{part.resource_type}/{own}" if own else "")
        if origin.again is Again.NEW or (is_new and not (origin.digest or (origin.source and place))):
            return uuid7(self.clock.now_ms()), IfKept.REFUSE
        if is_new and origin.source and place:
            return id_from(origin.source, place), origin.if_kept
        if is_new:
            return id_from(origin.digest, part.path), origin.if_kept
        # Bundles of several patients often carry differing copies of an organisation: the first one stays.
        if_other = origin.if_other
        if part.resource_type in SHARED_TYPES and if_other is IfKept.REFUSE_OTHER:
            if_other = IfKept.SKIP
        source = origin.source or part.base
        return (id_from(source, f"{part.resource_type}/{own}") if source else own), if_other

    def foreign(self, part: Part, reference: str, /) -> str | None:
        """A resource of the same origin: a patient is looked for under the name it has here."""
        if part.method:
            return None
        kind = reference.partition("/")[0]
        if self.origin.source:
            return f"{kind}/{id_from(self.origin.source, reference)}"
        if part.base:
            return f"{kind}/{id_from(part.base, reference)}" if kind == "Patient" else f"{part.base}/{reference}"
        return None
