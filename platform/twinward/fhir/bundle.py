"""Bundles: exact bytes of each resource, and urn:uuid references resolved.

A document is decoded strictly as a whole (so nothing ambiguous survives), then each resource is cut out of the source
as a slice. The slice is kept byte for byte but for two edits that FHIR asks of a server that accepts a transaction
(https://hl7.org/fhir/R4/http.html#trules): a ``reference`` to another entry's ``urn:uuid:…`` becomes ``Type/id``, and
a resource that has no ``id`` is given one, right after its opening brace.

A resource without an id is named after its entry's urn:uuid or, failing that, after the SHA-256 of its bytes: so the
same file imported twice names it alike.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.resource_types import SHARED_TYPES
from twinward.fhir.strict_json import IMPORT_LIMITS, JsonObject, Limits, decode
from twinward.fhir.validate import ID, Depth, check_structure, validate

_REFERENCE = re.compile(rb'((?<!\\)"reference"[ \t\n\r]*:[ \t\n\r]*)"(urn:(?:uuid|oid):[^"\\]{1,128})"')
_URN_UUID = re.compile(r"urn:uuid:([0-9a-fA-F-]{36})")
_READABLE_TYPES = frozenset({"transaction", "batch", "collection", "searchset", "history"})
_MAX_ENTRIES = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource of a bundle, or one that stood alone.

    Attributes:
        path: where it stood, e.g. ``Bundle.entry[3].resource``.
        reference: ``Type/id``.
        body: the decoded tree, as it was sent (references not rewritten, id perhaps absent).
        content: the bytes to keep.
    """

    path: str
    reference: str
    resource_type: str
    body: JsonObject = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ParsedBundle:
    """A bundle's resources. ``names`` maps every entry's fullUrl to its ``Type/id``."""

    kind: str
    entries: tuple[Entry, ...]
    names: Mapping[str, str] = field(repr=False)

    def resolve(self, reference: object) -> str | None:
        """``Type/id`` of a literal reference, in this bundle's terms; None where it is not one."""
        if not isinstance(reference, str):
            return None
        named = self.names.get(reference)
        if named is not None:
            return named
        match = _RELATIVE.fullmatch(reference)
        return match[1] if match else None


_RELATIVE = re.compile(r"([A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")


class _RawEntry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw()


class _RawBundle(msgspec.Struct):
    entry: list[_RawEntry] = []


def read_bundle(data: bytes, *, limits: Limits = IMPORT_LIMITS, depth: Depth = "structure") -> ParsedBundle:
    """Resources out of untrusted bytes: a Bundle, or a single resource (a bundle of one, of kind ``resource``).

    Raises:
        InvalidResource: for anything malformed; the first problem is named, nothing is returned in part.
    """
    tree = decode(data, limits=limits)
    if tree.get("resourceType") != "Bundle":
        validate(tree, depth=depth)
        entry = _entry(str(tree["resourceType"]), tree, data.strip(b" \t\n\r"), {}, "")
        return ParsedBundle("resource", (entry,), {})
    kind = tree.get("type")
    if not isinstance(kind, str) or kind not in _READABLE_TYPES:
        known = ", ".join(sorted(_READABLE_TYPES))
        raise InvalidResource(Issue("not-supported", "Bundle.type", f"only these are taken in: {known}"))
    found = _entries_of(tree)
    for index, (envelope, body) in found.items():
        path = f"Bundle.entry[{index}]"
        validate(body, depth=depth, path=f"{path}.resource")
        _check_request(envelope, path)
    raw = _slices(data)
    names = _names(found, raw)
    entries = tuple(
        _entry(f"Bundle.entry[{index}].resource", body, raw[index], names, _full_url(envelope))
        for index, (envelope, body) in found.items()
    )
    _check_unique(entries)
    return ParsedBundle(kind, entries, names)


def _slices(data: bytes) -> list[bytes]:
    """The exact bytes of each entry's resource. ``data`` was accepted by the strict decoder before."""
    try:
        return [bytes(entry.resource) for entry in msgspec.json.decode(data, type=_RawBundle).entry]
    except (msgspec.DecodeError, RecursionError):
        raise InvalidResource(Issue("structure", "Bundle.entry", "two decoders disagree on this document")) from None


def _entries_of(tree: JsonObject) -> dict[int, tuple[JsonObject, JsonObject]]:
    entries = tree.get("entry", [])
    if not isinstance(entries, list) or len(entries) > _MAX_ENTRIES:
        raise InvalidResource(Issue("structure", "Bundle.entry", "entries stand in an array"))
    found: dict[int, tuple[JsonObject, JsonObject]] = {}
    for index, entry in enumerate(entries):
        path = f"Bundle.entry[{index}]"
        body = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(body, dict):
            raise InvalidResource(Issue("required", f"{path}.resource", "every entry carries a resource here"))
        check_structure(body, path=f"{path}.resource")
        found[index] = (entry, body)
    return found


def _check_request(entry: JsonObject, path: str) -> None:
    """Only plain creates and updates: what this node would not do, it refuses rather than ignores."""
    request = entry.get("request")
    if request is None:
        return
    if not isinstance(request, dict) or request.get("method") not in ("POST", "PUT"):
        raise InvalidResource(Issue("not-supported", f"{path}.request.method", "only POST and PUT are taken in"))
    body = entry["resource"]
    expected = body["resourceType"] if request["method"] == "POST" else f"{body['resourceType']}/{body.get('id')}"
    if request.get("url") != expected:
        raise InvalidResource(Issue("value", f"{path}.request.url", "does not fit the resource of this entry"))
    conditions = {"ifMatch", "ifModifiedSince", "ifNoneMatch"} & request.keys()
    # A shared resource is created only if absent anyway, which is what ifNoneExist asks.
    if body["resourceType"] not in SHARED_TYPES:
        conditions |= {"ifNoneExist"} & request.keys()
    if conditions:
        name = min(conditions)
        raise InvalidResource(Issue("not-supported", f"{path}.request.{name}", "conditions are not supported here"))


def _full_url(entry: JsonObject) -> str:
    full_url = entry.get("fullUrl")
    return full_url if isinstance(full_url, str) else ""


def _names(found: dict[int, tuple[JsonObject, JsonObject]], raw: list[bytes]) -> dict[str, str]:
    names: dict[str, str] = {}
    for index, (entry, body) in found.items():
        full_url = _full_url(entry)
        if not full_url:
            continue
        name = f"{body['resourceType']}/{_id_of(body, raw[index], full_url)}"
        if names.setdefault(full_url, name) != name:
            path = f"Bundle.entry[{index}].fullUrl"
            raise InvalidResource(Issue("duplicate", path, "another entry has this fullUrl"))
    return names


def _entry(path: str, body: JsonObject, raw: bytes, names: Mapping[str, str], full_url: str) -> Entry:
    resource_type = str(body["resourceType"])
    resource_id = _id_of(body, raw, full_url)
    content = _resolve_references(raw, names)
    if "id" not in body:
        content = b'{"id":"' + resource_id.encode() + b'",' + content[1:]
    return Entry(path, f"{resource_type}/{resource_id}", resource_type, body, content)


def _id_of(body: JsonObject, raw: bytes, full_url: str) -> str:
    own = body.get("id")
    if isinstance(own, str) and ID.fullmatch(own):
        return own
    named = _URN_UUID.fullmatch(full_url)
    return named[1].lower() if named else hashlib.sha256(raw).hexdigest()[:40]


def _resolve_references(raw: bytes, names: Mapping[str, str]) -> bytes:
    def resolved(match: re.Match[bytes]) -> bytes:
        name = names.get(match[2].decode("utf-8"))
        return match[0] if name is None else match[1] + b'"' + name.encode() + b'"'

    return _REFERENCE.sub(resolved, raw)


def _check_unique(entries: tuple[Entry, ...]) -> None:
    seen: set[str] = set()
    for entry in entries:
        if entry.reference in seen:
            raise InvalidResource(Issue("duplicate", entry.path, "another entry has this type and id"))
        seen.add(entry.reference)
