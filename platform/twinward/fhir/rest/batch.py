"""Batch bundles: entries that stand alone, each with its own outcome. https://hl7.org/fhir/R4/http.html#transaction.

A batch is a convenience and no more: every entry walks the same way, past the same checks, as if it had come alone, and
one that fails leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from twinward.access.interfaces import AccessContext
from twinward.core.errors import TwinwardError
from twinward.core.preconditions import Preconditions
from twinward.core.vocabulary import Action
from twinward.fhir.errors import InvalidResource, Issue, outcome_of
from twinward.fhir.json.edits import MAX_URL_CHARS, local, rewrite
from twinward.fhir.json.patch import patched
from twinward.fhir.json.strict_json import REQUEST_LIMITS, JsonObject, decode
from twinward.fhir.mapping.bundle import read_full_url
from twinward.fhir.preconditions import read_members
from twinward.fhir.rest.entries import EntryReads, EntryResponse, ReadAllowance, patch_in, response_bundle
from twinward.fhir.rest.service import FhirService, reference_to, resource_type_of
from twinward.fhir.rest.writes import Written
from twinward.fhir.search.conditional import read_condition
from twinward.fhir.search.query import Query

MAX_ENTRIES = 500
_REQUEST = "Bundle.entry.request"


class _RawEntry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw()


class _RawBundle(msgspec.Struct):
    entry: list[_RawEntry] = []


@dataclass(frozen=True, slots=True)
class Batch:
    """The walk of one batch on behalf of one principal."""

    service: FhirService
    context: AccessContext
    base: str
    _given: ReadAllowance = field(default_factory=ReadAllowance, init=False, repr=False)
    _placeholders: set[str] = field(default_factory=set, init=False, repr=False)

    def run(self, body: bytes) -> bytes:
        """Do every entry in order and answer with a batch-response.

        Raises:
            InvalidResource: the bundle itself cannot be read; nothing was done.
        """
        entries = _entries(body)
        self._placeholders.update(
            str(entry["fullUrl"]) for entry, _ in entries if str(entry.get("fullUrl", "")).startswith("urn:")
        )
        answers = [
            self._answer(entry, resource, f"Bundle.entry[{index}]") for index, (entry, resource) in enumerate(entries)
        ]
        return response_bundle("batch-response", answers)

    def _answer(self, entry: JsonObject, resource: bytes, path: str) -> EntryResponse:
        try:
            request = entry["request"]
            method, url = request.get("method"), request.get("url")
            do = self._walks.get(str(method))
            if do is None or not isinstance(url, str) or not 0 < len(url) <= MAX_URL_CHARS:
                raise InvalidResource(Issue("not-supported", _REQUEST, "GET, POST, PUT, PATCH or DELETE of a url"))
            asked, if_none_exist = read_members(request, str(method), f"{path}.request")
            own = read_full_url(entry, path)
            alone = _alone(local(resource, self.base), path, self._placeholders - {own})
            return do(url.removeprefix(f"{self.base}/").removeprefix("/"), alone, asked, if_none_exist)
        except TwinwardError as error:
            return EntryResponse(error.http_status, outcome=outcome_of(error))

    @property
    def _walks(self) -> dict[str, Callable[[str, bytes, Preconditions, str], EntryResponse]]:
        return {"GET": self._get, "POST": self._post, "PUT": self._put, "PATCH": self._patch, "DELETE": self._delete}

    def _get(self, url: str, _resource: bytes, asked: Preconditions, _: str) -> EntryResponse:
        reading = EntryReads(self.service, self.context, self.base, given=self._given)
        return reading.get(url, asked)

    def _post(self, url: str, resource: bytes, _: Preconditions, if_none_exist: str) -> EntryResponse:
        kind = resource_type_of(url)
        unless = read_condition(kind, if_none_exist, base=self.base) if if_none_exist else None
        created = self.service.writes.create(self.context, kind, resource, unless=unless)
        return self._written(created)

    def _put(self, url: str, resource: bytes, asked: Preconditions, _: str) -> EntryResponse:
        if "?" in url:
            kind, where = self._condition(url)
            found = self.service.writes.update_where(self.context, kind, where, resource, asked=asked)
            return self._written(found)
        resource_type, resource_id = _split(url)
        kept = self.service.writes.update(self.context, resource_type, resource_id, resource, asked=asked)
        return self._written(kept)

    def _patch(self, url: str, resource: bytes, asked: Preconditions, _: str) -> EntryResponse:
        self.service.twins.require(self.context, Action.WRITE)  # before the patch is looked at
        self._given.require_room()
        operations = patch_in(decode(resource or b"{}", limits=REQUEST_LIMITS), "Bundle.entry.resource")

        def change(present: bytes) -> bytes:
            changed = patched(present, operations, most_bytes=REQUEST_LIMITS.size_bytes)
            self._given.take(len(changed))
            return _alone(local(changed, self.base), "Bundle.entry", self._placeholders)

        if "?" in url:
            _, where = self._condition(url)
            return self._written(self.service.writes.patch_where(self.context, where, change, asked=asked))
        resource_type, resource_id = _split(url)
        kept = self.service.writes.patch(self.context, resource_type, resource_id, change, asked=asked)
        return self._written(kept)

    def _delete(self, url: str, _resource: bytes, asked: Preconditions, _: str) -> EntryResponse:
        if "?" in url:
            _, where = self._condition(url)
            gone = self.service.writes.delete_where(self.context, where, asked=asked)
            if gone is None:
                return EntryResponse(204)
            return EntryResponse(204, version=gone.version, at_ms=gone.committed_at_ms)
        resource_type, resource_id = _split(url)
        head = self.service.writes.delete(self.context, resource_type, resource_id, asked=asked)
        return EntryResponse(204, version=head.version, at_ms=head.committed_at_ms)

    def _condition(self, url: str) -> tuple[str, Query]:
        kind = url.partition("?")[0]
        if "/" in kind:
            issue = Issue("not-supported", f"{_REQUEST}.url", "a write that names its resource has no parameters")
            raise InvalidResource(issue)
        return resource_type_of(kind), read_condition(kind, url, base=self.base)

    def _written(self, written: Written) -> EntryResponse:
        location = f"{written.reference}/_history/{written.version}" if written.reference else ""
        status = 201 if written.created else 200
        return EntryResponse(status, version=written.version, at_ms=written.at_ms, location=location)


def is_batch(body: bytes) -> bool:
    """Whether a body says it is a batch; one that cannot be read is none."""
    try:
        return msgspec.json.decode(body, type=_Kind).type == "batch"
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False


class _Kind(msgspec.Struct):
    type: str = ""


def _entries(body: bytes) -> list[tuple[JsonObject, bytes]]:
    """Each entry and the exact bytes of its resource (none where it has none)."""
    tree = decode(body, limits=REQUEST_LIMITS)
    entries = tree.get("entry", [])
    if tree.get("resourceType") != "Bundle" or not isinstance(entries, list):
        raise InvalidResource(Issue("structure", "Bundle.entry", "a Bundle with its entries in an array"))
    if len(entries) > MAX_ENTRIES:
        raise InvalidResource(Issue("too-costly", "Bundle.entry", f"at most {MAX_ENTRIES} entries in a batch"))
    found = []
    for index, entry in enumerate(entries):
        request = entry.get("request") if isinstance(entry, dict) else None
        if not isinstance(request, dict):
            raise InvalidResource(Issue("required", f"Bundle.entry[{index}].request", "every entry says what to do"))
        found.append(entry)
    try:
        raw = [bytes(one.resource) for one in msgspec.json.decode(body, type=_RawBundle).entry]
    except (msgspec.DecodeError, RecursionError):
        raise InvalidResource(Issue("structure", "Bundle.entry", "two decoders disagree on this document")) from None
    return list(zip(found, raw, strict=True))


def _alone(resource: bytes, path: str, placeholders: set[str]) -> bytes:
    """The resource, if it refers to no other entry of the batch: each stands alone, so none can say what is meant."""

    def refused(text: str) -> None:
        if text in placeholders:
            issue = Issue(
                "not-found", f"{path}.resource", "refers to another entry, and entries of a batch stand alone"
            )
            raise InvalidResource(issue, hint="send them as a transaction")

    return rewrite(resource, reference=refused, link=refused)


def _split(url: str) -> tuple[str, str]:
    resource_type, _, resource_id = url.partition("/")
    reference_to(resource_type, resource_id)
    return resource_type, resource_id
