"""Entries of batches and transactions: a GET by its address, as it answers alone; a patch; what became of an entry.

https://hl7.org/fhir/R4/bundle.html#transaction-response.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

from twinward.access.interfaces import AccessContext
from twinward.core.clock import iso
from twinward.core.errors import BadInput
from twinward.core.preconditions import NONE, Preconditions
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.patch import MEDIA_TYPE as PATCH
from twinward.fhir.json.patch import Operation, read_patch
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.preconditions import require_nothing_to_match
from twinward.fhir.rest.service import FhirService, resource_type_of
from twinward.fhir.search.query import read_query
from twinward.fhir.search.representation import Subset, etag, is_known, shown, subset_asked
from twinward.fhir.validation.validator import validate
from twinward.twins.errors import RecordNotFound
from twinward.vault.interfaces import Record


@dataclass(frozen=True, slots=True)
class EntryResponse:
    """One entry's outcome: what goes into ``resource``, and what into ``response``."""

    status: int
    resource: bytes = field(default=b"", repr=False)
    outcome: JsonObject | None = field(default=None, repr=False)
    version: int = 0
    at_ms: int = 0
    location: str = ""

    def encode(self) -> bytes:
        """The entry of the answer."""
        response: dict[str, Any] = {"status": f"{self.status} {HTTPStatus(self.status).phrase}"}
        if self.location:
            response["location"] = self.location
        if self.version:
            response |= {"etag": etag(self.version), "lastModified": iso(self.at_ms)}
        if self.outcome is not None:
            response["outcome"] = self.outcome
        resource = b'"resource":' + self.resource + b"," if self.resource else b""
        return b"{" + resource + b'"response":' + _json(response) + b"}"


def response_bundle(kind: str, answers: Sequence[EntryResponse]) -> bytes:
    """The Bundle of a kind (``batch-response``) that has these entries; R4 forbids an empty array of them."""
    head = _json({"resourceType": "Bundle", "type": kind})[:-1]
    return head + (b',"entry":[' + b",".join(one.encode() for one in answers) + b"]}" if answers else b"}")


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def patch_in(binary: JsonObject, path: str) -> tuple[Operation, ...]:
    """The JSON Patch of an entry, which carries it as a Binary. https://hl7.org/fhir/R4/http.html#patch.

    Raises:
        InvalidResource: no Binary of a JSON Patch.
    """
    if validate(binary, path=path) != "Binary" or binary.get("contentType") != PATCH or "data" not in binary:
        issue = Issue("not-supported", path, f"a patch is a Binary of {PATCH}, its data in base64")
        raise InvalidResource(issue, hint="FHIRPath Patch (a Parameters resource) is not served")
    try:
        return read_patch(base64.b64decode(binary["data"]))
    except BadInput as error:
        raise InvalidResource(Issue("invalid", f"{path}.data", str(error)), hint=error.hint) from None


MAX_FIELDS = 100
MOST_READS = 500
"""In one bundle. A search or ``$everything`` is one of them, however much it finds."""

MOST_BYTES = 64 * 1024 * 1024
"""Of what one bundle reads: an entry of 50 bytes may ask for all of a patient."""


@dataclass(slots=True)
class ReadAllowance:
    """How many bytes the reads of one bundle have found, and its patches made."""

    count: int = 0

    def take(self, size_bytes: int) -> None:
        """Count them. Raises as ``require_room``."""
        self.count += size_bytes
        self.require_room()

    def require_room(self) -> None:
        """Raise ``InvalidResource`` where it is more than one bundle is answered with."""
        if self.count > MOST_BYTES:
            text = f"more than {MOST_BYTES} bytes were read in this bundle"
            raise InvalidResource(Issue("too-costly", "", text), hint="ask for it in a request of its own")


@dataclass(frozen=True, slots=True)
class EntryReads:
    """The reads of one caller at one base."""

    service: FhirService
    context: AccessContext
    base: str
    given: ReadAllowance = field(default_factory=ReadAllowance)

    def get(self, url: str, asked: Preconditions = NONE) -> EntryResponse:
        """What is at an address, relative to the base or at it; 304 where the caller has it already.

        Raises:
            TwinwardError: as the same request alone would be refused.
            InvalidResource: too much was read with it.
        """
        self.given.require_room()
        answer = self._got(url, asked)
        self.given.take(len(answer.resource))
        return answer

    def _got(self, url: str, asked: Preconditions) -> EntryResponse:
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

    def _get(self, path: str, pairs: list[tuple[str, str]]) -> EntryResponse:
        """What is no single version of a resource: it has neither tag nor date."""
        match [unquote(step) for step in path.split("/")]:
            case ["metadata"]:
                return EntryResponse(200, self.service.metadata(base=self.base, pairs=pairs))
            case ["_history"]:
                return self._history_of_all("", pairs)
            case [kind]:
                return self._search(kind, pairs)
            case [kind, "_history"]:
                return self._history_of_all(kind, pairs)
            case ["Patient", resource_id, "$everything"]:
                everything = self.service.everything(self.context, resource_id, base=self.base, pairs=pairs)
                return EntryResponse(200, everything)
            case [kind, resource_id, "_history"]:
                return self._history(kind, resource_id, pairs)
        raise RecordNotFound("there is nothing at this address")

    def _search(self, kind: str, pairs: list[tuple[str, str]]) -> EntryResponse:
        query = read_query(resource_type_of(kind), pairs, base=self.base)
        page = self.service.search.page(self.context, query, base=self.base)
        return EntryResponse(200, page)

    def _read(self, kind: str, resource_id: str, pairs: list[tuple[str, str]], asked: Preconditions) -> EntryResponse:
        subset = subset_asked(pairs)
        record = self.service.read(self.context, kind, resource_id)
        return _found(record, asked, subset)

    def _history(self, kind: str, resource_id: str, pairs: list[tuple[str, str]]) -> EntryResponse:
        found = self.service.history(self.context, kind, resource_id, base=self.base, pairs=pairs)
        return EntryResponse(200, found)

    def _history_of_all(self, kind: str, pairs: list[tuple[str, str]]) -> EntryResponse:
        found = self.service.history_of_all(self.context, kind, base=self.base, pairs=pairs)
        return EntryResponse(200, found)

    def _version(
        self, kind: str, resource_id: str, version: str, pairs: list[tuple[str, str]], asked: Preconditions
    ) -> EntryResponse:
        subset = subset_asked(pairs)
        record = self.service.read_version(self.context, kind, resource_id, version)
        return _found(record, asked, subset)


def _found(record: Record, asked: Preconditions, subset: Subset) -> EntryResponse:
    if is_known(asked, record.version, record.committed_at_ms):
        return EntryResponse(304, version=record.version, at_ms=record.committed_at_ms)
    return EntryResponse(200, shown(record, subset), version=record.version, at_ms=record.committed_at_ms)
