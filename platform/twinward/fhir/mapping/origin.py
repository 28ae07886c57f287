"""Where imported resources come from, and by what name they are known here: so that the same again is recognised.

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

from twinward.core.errors import BadInput
from twinward.core.ids import uuid8
from twinward.core.vocabulary import Again
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
