"""Bundles read: each entry, what is asked to be done with it, and the exact bytes of its resource.

A document is decoded strictly as a whole (so nothing ambiguous survives), then each resource is cut out of the source
as a slice. What the slice is kept as, and under which name, ``twinward.fhir.mapping.references`` decides.

What a search found (``match``) and what came along with it (``include``) are records alike. Its ``outcome`` tells of
the search itself and is no record (https://hl7.org/fhir/R4/bundle-definitions.html#Bundle.entry.search.mode), as little
as any other OperationOutcome that was collected with records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import msgspec

from twinward.core.preconditions import NONE, Preconditions
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.edits import MAX_URL_CHARS, RELATIVE, restful, without_server_meta
from twinward.fhir.json.strict_json import IMPORT_LIMITS, JsonObject, Limits, decode
from twinward.fhir.preconditions import read_members
from twinward.fhir.resource_types import NO_RECORD, SUBSCRIPTION
from twinward.fhir.validation.validator import check_structure, validate
from twinward.twins.models import IfKept

_READABLE_TYPES = frozenset({"transaction", "batch", "collection", "searchset", "history"})
_MAX_ENTRIES = 1_000_000
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_WITH_RESOURCE = frozenset({"", "POST", "PUT", "PATCH"})
_COLLECTED = frozenset({"collection", "searchset", "history"})
"""Bundles that ask for nothing: they hold what somebody answered."""

_SEARCH_MODES = frozenset({"match", "include", "outcome"})
TELLS_OF_AN_ANSWER = "OperationOutcome"
"""The type of what tells of a search, an export or a request: no record of anybody."""


@dataclass(frozen=True, slots=True)
class Part:
    """One entry as it was sent, or a resource that stood alone.

    Attributes:
        path: where the entry stood, e.g. ``Bundle.entry[3]``; empty for a resource alone.
        full_url: absolute, or empty.
        method: GET, POST, PUT, PATCH or DELETE; empty where the entry asks for nothing.
        url: of the request.
        if_none_exist: its condition, of a POST.
        asked: its preconditions.
        body: the decoded resource; None where there is none (GET, DELETE), or no record (an outcome).
        raw: its bytes.
    """

    path: str
    full_url: str = ""
    method: str = ""
    url: str = ""
    if_none_exist: str = ""
    asked: Preconditions = NONE
    body: JsonObject | None = field(default=None, repr=False)
    raw: bytes = field(default=b"", repr=False)

    @property
    def resource_type(self) -> str:
        """Of the resource."""
        return "" if self.body is None else str(self.body["resourceType"])

    @property
    def resource_id(self) -> str:
        """The id the resource came with; empty for none."""
        return "" if self.body is None else str(self.body.get("id", ""))

    @property
    def base(self) -> str:
        """The server that its fullUrl says it is from; empty where that does not say."""
        match = restful(self.full_url)
        return match[1] if match else ""


@dataclass(frozen=True, slots=True)
class Document:
    """A Bundle of a kind, or a resource that stands alone (of kind ``resource``)."""

    kind: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource under its name.

    Attributes:
        path: where it stood, e.g. ``Bundle.entry[3].resource``.
        reference: ``Type/id``.
        body: the decoded tree, as it was sent (links not rewritten, id perhaps absent).
        content: the bytes to keep.
        links: what its references were, and what they are in ``content``.
        if_kept: what becomes of it if its name is kept already.
    """

    path: str
    reference: str
    resource_type: str
    body: JsonObject = field(repr=False)
    content: bytes = field(repr=False)
    links: dict[str, str] = field(default_factory=dict, repr=False)
    if_kept: IfKept = IfKept.UPDATE

    def refers_to(self, reference: object) -> str | None:
        """``Type/id`` of one of its references; None where that is no literal reference to anything here."""
        if not isinstance(reference, str):
            return None
        match = RELATIVE.fullmatch(self.links.get(reference, reference))
        return match[1] if match else None


@dataclass(frozen=True, slots=True)
class ParsedBundle:
    """A bundle's resources under their names."""

    kind: str
    entries: tuple[Entry, ...]


class _RawEntry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw()


class _RawBundle(msgspec.Struct):
    entry: list[_RawEntry] = []


def read_document(data: bytes, *, limits: Limits = IMPORT_LIMITS) -> Document:
    """Resources out of untrusted bytes: a Bundle, or a single resource.

    Raises:
        InvalidResource: for anything malformed; the first problem is named, nothing is returned in part.
    """
    document = outline_document(data, limits=limits)
    check_document(document)
    return document


def outline_document(data: bytes, *, limits: Limits = IMPORT_LIMITS) -> Document:
    """What a document asks for, before its resources are looked into: whoever may not write is told so, and no more.

    Raises:
        InvalidResource: no Bundle whose requests can be read, and no resource of a known type.
    """
    tree = decode(data, limits=limits)
    if tree.get("resourceType") != "Bundle":
        check_structure(tree)
        return Document("resource", (Part("", body=tree, raw=without_server_meta(data.strip(b" \t\n\r"))),))
    kind = tree.get("type")
    if not isinstance(kind, str) or kind not in _READABLE_TYPES:
        known = ", ".join(sorted(_READABLE_TYPES))
        raise InvalidResource(Issue("not-supported", "Bundle.type", f"only these are taken in: {known}"))
    parts = tuple(_parts(tree, kind))
    _check_full_urls(parts)
    kept = [
        b"" if part.body is None else without_server_meta(raw) for part, raw in zip(parts, _slices(data), strict=True)
    ]
    return Document(kind, tuple(replace(part, raw=raw) for part, raw in zip(parts, kept, strict=True)))


def check_document(document: Document) -> None:
    """Raise ``InvalidResource`` unless every resource of a document keeps R4's rules."""
    for part in document.parts:
        if part.body is not None:
            validate(part.body, path=f"{part.path}.resource" if part.path else "")


def _slices(data: bytes) -> list[bytes]:
    """The exact bytes of each entry's resource. ``data`` was accepted by the strict decoder before."""
    try:
        return [bytes(entry.resource) for entry in msgspec.json.decode(data, type=_RawBundle).entry]
    except (msgspec.DecodeError, RecursionError):
        raise InvalidResource(Issue("structure", "Bundle.entry", "two decoders disagree on this document")) from None


def _parts(tree: JsonObject, kind: str) -> Iterator[Part]:
    entries = tree.get("entry", [])
    if not isinstance(entries, list) or len(entries) > _MAX_ENTRIES:
        raise InvalidResource(Issue("structure", "Bundle.entry", "entries stand in an array"))
    for index, entry in enumerate(entries):
        path = f"Bundle.entry[{index}]"
        if not isinstance(entry, dict):
            raise InvalidResource(Issue("required", f"{path}.resource", "an entry is an object"))
        # In a history a request is what was done then, and nothing to be done now.
        asked = _request(entry, path) if kind != "history" else Part(path)
        body = entry.get("resource")
        if asked.method not in _WITH_RESOURCE:
            yield replace(asked, full_url=read_full_url(entry, path))
            continue
        if body is None and kind == "history":
            raise _tells_of_a_deletion(path)
        if not isinstance(body, dict):
            raise InvalidResource(Issue("required", f"{path}.resource", "every entry carries a resource here"))
        check_structure(body, path=f"{path}.resource")
        if kind in _COLLECTED and not _is_record(entry, body, path):
            yield Part(path)
            continue
        yield _checked(replace(asked, full_url=read_full_url(entry, path), body=body))


def _tells_of_a_deletion(path: str) -> InvalidResource:
    """A history has an entry without a resource for each deletion."""
    issue = Issue("not-supported", path, "has no resource: it tells of a deletion, and an import deletes nothing")
    return InvalidResource(issue, hint="take this entry out; if it is kept here, send DELETE Type/id to the API")


def _is_record(entry: JsonObject, body: JsonObject, path: str) -> bool:
    """Whether an entry of what was collected is a record: nothing else is left out because it is called an outcome."""
    search = entry.get("search", {})
    mode = search.get("mode", "match") if isinstance(search, dict) else None
    if not isinstance(mode, str) or mode not in _SEARCH_MODES:
        raise InvalidResource(Issue("value", f"{path}.search.mode", f"one of {', '.join(sorted(_SEARCH_MODES))}"))
    is_outcome = body["resourceType"] == TELLS_OF_AN_ANSWER
    if mode == "outcome" and not is_outcome:
        issue = Issue("value", f"{path}.search.mode", f"only an {TELLS_OF_AN_ANSWER} is the outcome of a search")
        raise InvalidResource(issue, hint="a record that was found is a match, or was included")
    return not is_outcome


def _request(entry: JsonObject, path: str) -> Part:
    """What an entry asks for: what this node would not do, it refuses rather than ignores."""
    request = entry.get("request")
    if request is None:
        return Part(path)
    method, url = (request.get("method"), request.get("url")) if isinstance(request, dict) else (None, None)
    if not isinstance(method, str) or method not in _METHODS:
        raise InvalidResource(Issue("not-supported", f"{path}.request.method", f"one of {', '.join(sorted(_METHODS))}"))
    if not isinstance(url, str) or not 0 < len(url) <= MAX_URL_CHARS:
        raise InvalidResource(Issue("required", f"{path}.request.url", f"a url of at most {MAX_URL_CHARS} letters"))
    asked, condition = read_members(request, method, f"{path}.request")
    return Part(path, method=method, url=url, if_none_exist=condition, asked=asked)


def read_full_url(entry: JsonObject, path: str) -> str:
    """An entry's fullUrl: absolute, of no version, and not another's than its resource says (R4, bdl-8).

    Raises:
        InvalidResource: it is none.
    """
    full_url = entry.get("fullUrl", "")
    where = f"{path}.fullUrl"
    if not isinstance(full_url, str) or ("fullUrl" in entry and not _ABSOLUTE.fullmatch(full_url)):
        hint = "a urn:uuid, or a URL with its scheme"
        raise InvalidResource(Issue("value", where, "a fullUrl is absolute"), hint=hint)
    if len(full_url) > MAX_URL_CHARS:
        raise InvalidResource(Issue("too-long", where, f"a fullUrl of at most {MAX_URL_CHARS} letters"))
    match = restful(full_url)
    if match and match[3]:
        raise InvalidResource(Issue("value", where, "a fullUrl names a resource, not a version of it"))
    body = entry.get("resource")
    if match and isinstance(body, dict) and not _is_patch(entry):
        said = f"{body.get('resourceType')}/{body.get('id', match[2].partition('/')[2])}"
        if said != match[2]:
            raise InvalidResource(Issue("value", where, "the fullUrl and the resource name two different things"))
    return full_url


def _is_patch(entry: JsonObject) -> bool:
    """Whether an entry's resource is what is done to another one."""
    request = entry.get("request")
    return isinstance(request, dict) and request.get("method") == "PATCH"


def _checked(part: Part) -> Part:
    """The part, if its request fits its resource."""
    kind, _, query = part.url.partition("?")
    if part.method and part.resource_type == SUBSCRIPTION:
        raise InvalidResource(Issue("not-supported", f"{part.path}.resource", NO_RECORD))
    if part.method == "PATCH" and part.resource_type != "Binary":
        raise InvalidResource(Issue("value", f"{part.path}.resource", "a patch comes as a Binary"))
    if part.method == "POST" and part.url != part.resource_type:
        raise InvalidResource(Issue("value", f"{part.path}.request.url", "does not fit the resource of this entry"))
    if part.method == "PUT":
        fits = kind == part.resource_type if query else part.url == f"{part.resource_type}/{part.resource_id}"
        if not fits:
            raise InvalidResource(Issue("value", f"{part.path}.request.url", "does not fit the resource of this entry"))
    return part


def _check_full_urls(parts: tuple[Part, ...]) -> None:
    seen: set[str] = set()
    for part in parts:
        if part.full_url and part.full_url in seen:
            raise InvalidResource(Issue("duplicate", f"{part.path}.fullUrl", "another entry has this fullUrl"))
        seen.add(part.full_url)
