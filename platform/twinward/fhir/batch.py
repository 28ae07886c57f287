"""Batch bundles: entries that stand alone, each with its own outcome. https://hl7.org/fhir/R4/http.html#transaction.

A batch is a convenience and no more: every entry walks the same way, past the same gate, as if it had come alone, and
one that fails leaves the others as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from twinward.access.interfaces import Principal
from twinward.clock import iso
from twinward.errors import TwinwardError
from twinward.fhir.conditional import read_condition
from twinward.fhir.editing import Written
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.outcome import outcome_of
from twinward.fhir.query import Query, read_query
from twinward.fhir.render import etag
from twinward.fhir.service import FhirService, reference_to, resource_type_of
from twinward.fhir.strict_json import REQUEST_LIMITS, JsonObject, decode
from twinward.vocabulary import Purpose

MAX_ENTRIES = 500
_MAX_URL_CHARS = 2000
_REQUEST = "Bundle.entry.request"
_STATUS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    410: "Gone",
    412: "Precondition Failed",
}


class _RawEntry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw()


class _RawBundle(msgspec.Struct):
    entry: list[_RawEntry] = []


@dataclass(frozen=True, slots=True)
class _Answer:
    """One entry's outcome: what goes into ``resource``, and what into ``response``."""

    status: int
    resource: bytes = b""
    outcome: JsonObject | None = None
    version: int = 0
    at_ms: int = 0
    location: str = ""

    def encode(self) -> bytes:
        response: dict[str, Any] = {"status": f"{self.status} {_STATUS.get(self.status, '')}".strip()}
        if self.location:
            response["location"] = self.location
        if self.version:
            response |= {"etag": etag(self.version), "lastModified": iso(self.at_ms)}
        if self.outcome is not None:
            response["outcome"] = self.outcome
        resource = b'"resource":' + self.resource + b"," if self.resource else b""
        return b"{" + resource + b'"response":' + _json(response) + b"}"


@dataclass(frozen=True, slots=True)
class Batch:
    """The walk of one batch on behalf of one principal."""

    service: FhirService
    principal: Principal
    purpose: Purpose
    base: str
    justification: str = ""

    def run(self, body: bytes) -> bytes:
        """Do every entry in order and answer with a batch-response.

        Raises:
            InvalidResource: the bundle itself cannot be read; nothing was done.
        """
        entries = _entries(body)
        answers = [self._answer(request, resource).encode() for request, resource in entries]
        head = b'{"resourceType":"Bundle","type":"batch-response"'
        return head + (b',"entry":[' + b",".join(answers) + b"]}" if answers else b"}")

    def _answer(self, request: JsonObject, resource: bytes) -> _Answer:
        try:
            method, url = request.get("method"), request.get("url")
            do = self._walks.get(str(method))
            if do is None or not isinstance(url, str) or not 0 < len(url) <= _MAX_URL_CHARS:
                raise InvalidResource(Issue("not-supported", _REQUEST, "GET, POST, PUT or DELETE of a url"))
            served = {"PUT": {"ifMatch"}, "DELETE": {"ifMatch"}, "POST": {"ifNoneExist"}}.get(str(method), set())
            asked = request.keys() & {"ifMatch", "ifNoneExist", "ifNoneMatch", "ifModifiedSince"}
            if asked - served:
                raise InvalidResource(Issue("not-supported", _REQUEST, "ifMatch and ifNoneExist only are served here"))
            return do(url.removeprefix("/"), resource, str(request[asked.pop()]) if asked else "")
        except TwinwardError as error:
            return _Answer(error.http_status, outcome=outcome_of(error))

    @property
    def _walks(self) -> dict[str, Callable[[str, bytes, str], _Answer]]:
        return {"GET": self._get, "POST": self._post, "PUT": self._put, "DELETE": self._delete}

    def _get(self, url: str, _resource: bytes, _if_match: str) -> _Answer:
        path, _, query = url.partition("?")
        resource_type, _, rest = path.partition("/")
        why = self.justification
        if not rest:
            kind = resource_type_of(resource_type)
            pairs = parse_qsl(query, keep_blank_values=True)
            found = self.service.search.page(
                self.principal, read_query(kind, pairs), base=self.base, purpose=self.purpose, justification=why
            )
            return _Answer(200, found)
        record = self.service.read(self.principal, resource_type, rest, purpose=self.purpose, justification=why)
        return _Answer(200, record.content, version=record.version, at_ms=record.committed_at_ms)

    def _post(self, url: str, resource: bytes, if_none_exist: str) -> _Answer:
        kind = resource_type_of(url)
        unless = read_condition(kind, if_none_exist) if if_none_exist else None
        editing = self.service.editing
        return self._written(editing.create(self.principal, kind, resource, purpose=self.purpose, unless=unless))

    def _put(self, url: str, resource: bytes, if_match: str) -> _Answer:
        if "?" in url:
            kind, where = _condition(url)
            found = self.service.editing.update_where(self.principal, kind, where, resource, purpose=self.purpose)
            return self._written(found)
        resource_type, resource_id = _split(url)
        kept = self.service.editing.update(
            self.principal, resource_type, resource_id, resource, purpose=self.purpose, if_match=if_match
        )
        return self._written(kept)

    def _delete(self, url: str, _resource: bytes, if_match: str) -> _Answer:
        if "?" in url:
            _, where = _condition(url)
            gone = self.service.editing.delete_where(self.principal, where, purpose=self.purpose)
            return _Answer(204) if gone is None else _Answer(204, version=gone.version, at_ms=gone.committed_at_ms)
        resource_type, resource_id = _split(url)
        head = self.service.editing.delete(
            self.principal, resource_type, resource_id, purpose=self.purpose, if_match=if_match
        )
        return _Answer(204, version=head.version, at_ms=head.committed_at_ms)

    def _written(self, written: Written) -> _Answer:
        location = f"{written.reference}/_history/{written.version}" if written.reference else ""
        status = 201 if written.created else 200
        return _Answer(status, version=written.version, at_ms=written.at_ms, location=location)


def is_batch(body: bytes) -> bool:
    """Whether a body says it is a batch; one that cannot be read is none."""
    try:
        return msgspec.json.decode(body, type=_Kind).type == "batch"
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False


class _Kind(msgspec.Struct):
    type: str = ""


def _entries(body: bytes) -> list[tuple[JsonObject, bytes]]:
    """Each entry's request and the exact bytes of its resource (none where it has none)."""
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
        found.append(request)
    try:
        raw = [bytes(one.resource) for one in msgspec.json.decode(body, type=_RawBundle).entry]
    except (msgspec.DecodeError, RecursionError):
        raise InvalidResource(Issue("structure", "Bundle.entry", "two decoders disagree on this document")) from None
    return list(zip(found, raw, strict=True))


def _split(url: str) -> tuple[str, str]:
    resource_type, _, resource_id = url.partition("/")
    reference_to(resource_type, resource_id)
    return resource_type, resource_id


def _condition(url: str) -> tuple[str, Query]:
    kind = resource_type_of(url.partition("?")[0])
    return kind, read_condition(kind, url)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
