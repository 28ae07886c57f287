"""A GET by its address, as entries of batches and transactions ask it: it answers as it does alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from twinward.access.interfaces import AccessContext
from twinward.core.preconditions import NONE, Preconditions
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.mapping.preconditions import is_known, require_nothing_to_match
from twinward.fhir.rest.answers import Answer
from twinward.fhir.rest.service import FhirService, resource_type_of
from twinward.fhir.search.query import read_query
from twinward.fhir.search.render import shown
from twinward.fhir.search.subset import Subset, subset_asked
from twinward.twins.errors import RecordNotFound
from twinward.vault.interfaces import Record

MAX_FIELDS = 100
MOST_READS = 500
"""In one bundle. A search or ``$everything`` is one of them, however much it finds."""

MOST_BYTES = 64 * 1024 * 1024
"""Of what one bundle reads: an entry of 50 bytes may ask for all of a patient."""


@dataclass(slots=True)
class Given:
    """How much the reads of one bundle have found."""

    count: int = 0

    def require_room(self) -> None:
        """Raise ``InvalidResource`` where it is more than one bundle is answered with."""
        if self.count > MOST_BYTES:
            text = f"more than {MOST_BYTES} bytes were read in this bundle"
            raise InvalidResource(Issue("too-costly", "", text), hint="ask for it in a request of its own")


@dataclass(frozen=True, slots=True)
class Reading:
    """The reads of one caller at one base."""

    service: FhirService
    context: AccessContext
    base: str
    given: Given = field(default_factory=Given)

    def get(self, url: str, asked: Preconditions = NONE) -> Answer:
        """What is at an address, relative to the base or at it; 304 where the caller has it already.

        Raises:
            TwinwardError: as the same request alone would be refused.
            InvalidResource: too much was read with it.
        """
        self.given.require_room()
        answer = self._got(url, asked)
        self.given.count += len(answer.resource)
        self.given.require_room()
        return answer

    def _got(self, url: str, asked: Preconditions) -> Answer:
        path, _, query = url.removeprefix(f"{self.base}/").removeprefix("/").partition("?")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except ValueError:
            raise InvalidResource(Issue("too-long", "", f"at most {MAX_FIELDS} parameters")) from None
        match [unquote(step) for step in path.split("/")]:
            case [kind, resource_id] if resource_id != "_history":
                return self._read(kind, resource_id, pairs, asked)
            case [kind, resource_id, "_history", version]:
                return self._version(kind, resource_id, version, pairs, asked)
        require_nothing_to_match(asked)
        return self._get(path, pairs)

    def _get(self, path: str, pairs: list[tuple[str, str]]) -> Answer:
        """What is no single version of a resource: it has neither tag nor date."""
        match [unquote(step) for step in path.split("/")]:
            case ["metadata"]:
                return Answer(200, self.service.metadata(base=self.base, pairs=pairs))
            case ["_history"]:
                return self._history_of_all("", pairs)
            case [kind]:
                return self._search(kind, pairs)
            case [kind, "_history"]:
                return self._history_of_all(kind, pairs)
            case ["Patient", resource_id, "$everything"]:
                everything = self.service.everything(self.context, resource_id, base=self.base, pairs=pairs)
                return Answer(200, everything)
            case [kind, resource_id, "_history"]:
                return self._history(kind, resource_id, pairs)
        raise RecordNotFound("there is nothing at this address")

    def _search(self, kind: str, pairs: list[tuple[str, str]]) -> Answer:
        query = read_query(resource_type_of(kind), pairs, base=self.base)
        page = self.service.search.page(self.context, query, base=self.base)
        return Answer(200, page)

    def _read(self, kind: str, resource_id: str, pairs: list[tuple[str, str]], asked: Preconditions) -> Answer:
        subset = subset_asked(pairs)
        record = self.service.read(self.context, kind, resource_id)
        return _found(record, asked, subset)

    def _history(self, kind: str, resource_id: str, pairs: list[tuple[str, str]]) -> Answer:
        found = self.service.history(self.context, kind, resource_id, base=self.base, pairs=pairs)
        return Answer(200, found)

    def _history_of_all(self, kind: str, pairs: list[tuple[str, str]]) -> Answer:
        found = self.service.history_of_all(self.context, kind, base=self.base, pairs=pairs)
        return Answer(200, found)

    def _version(
        self, kind: str, resource_id: str, version: str, pairs: list[tuple[str, str]], asked: Preconditions
    ) -> Answer:
        subset = subset_asked(pairs)
        record = self.service.read_version(self.context, kind, resource_id, version)
        return _found(record, asked, subset)


def _found(record: Record, asked: Preconditions, subset: Subset) -> Answer:
    if is_known(asked, record.version, record.committed_at_ms):
        return Answer(304, version=record.version, at_ms=record.committed_at_ms)
    return Answer(200, shown(record, subset), version=record.version, at_ms=record.committed_at_ms)
