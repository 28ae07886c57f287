"""Bundles that answer: searchsets and histories, their links and warnings, resources spliced in as they are kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from twinward.core.clock import iso
from twinward.core.vocabulary import Category
from twinward.fhir.errors import Issue, operation_outcome
from twinward.fhir.search.representation import WHOLE, Subset, etag, reference_of, shown
from twinward.vault.interfaces import Record


def searchset(
    records: Sequence[Record],
    *,
    base: str,
    total: int | None,
    links: Mapping[str, str] | None = None,
    issues: Sequence[Issue] = (),
    included: Sequence[Record] = (),
    subset: Subset = WHOLE,
) -> bytes:
    """A searchset of records as stored.

    Args:
        records: FHIR resources.
        base: the service's base URL, without a slash at the end.
        total: how many there are on all pages; None where nobody knows.
        links: relation to URL (``self``, ``next``).
        issues: what the caller should know beside the matches: an OperationOutcome entry.
        included: what comes along with the matches.
        subset: which part of each resource is shown.
    """
    entries = [_found(record, base, b"match", subset) for record in records]
    entries += [_found(record, base, b"include", subset) for record in included]
    if issues:
        entries.append(b'{"resource":' + _json(operation_outcome(issues)) + b',"search":{"mode":"outcome"}}')
    head: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    if total is not None:
        head["total"] = total
    if links:
        head["link"] = _links(links)
    return _bundle(head, entries)


def page_links(
    address: str, used: Sequence[tuple[str, str]], next_cursor: str = "", *, counts: bool = False
) -> dict[str, str]:
    """Where a page is, and the one after it: none where nothing is left, or only a number was asked for."""
    links = {"self": _url(address, used)}
    if next_cursor and not counts:
        links["next"] = _url(address, (*used, ("_cursor", next_cursor)))
    return links


def _url(address: str, pairs: Sequence[tuple[str, str]]) -> str:
    return f"{address}?{urlencode(pairs)}" if pairs else address


def _links(links: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"relation": name, "url": url} for name, url in links.items()]


def _found(record: Record, base: str, mode: bytes, subset: Subset) -> bytes:
    resource = shown(record, subset)
    address = _json(f"{base}/{reference_of(record)}")
    return b'{"fullUrl":' + address + b',"resource":' + resource + b',"search":{"mode":"' + mode + b'"}}'


def withheld_issues(categories: Iterable[Category]) -> list[Issue]:
    """The warning that says which categories policy or consent kept back; nothing where none was."""
    named = ", ".join(sorted(categories))
    return [Issue("suppressed", "", f"withheld by policy or consent: {named}", severity="warning")] if named else []


def history(
    versions: Sequence[Record], *, base: str, total: int | None, links: Mapping[str, str], subset: Subset = WHOLE
) -> bytes:
    """A history Bundle, newest first. A deletion is an entry without a resource. See ``searchset``."""
    head: dict[str, Any] = {"resourceType": "Bundle", "type": "history"} | ({} if total is None else {"total": total})
    head["link"] = _links(links)
    return _bundle(head, _history(versions, base, subset))


def _history(versions: Sequence[Record], base: str, subset: Subset) -> list[bytes]:
    entries = []
    for one in versions:
        reference = reference_of(one)
        method, status = ("PUT", "200 OK") if one.content else ("DELETE", "204 No Content")
        if one.content and one.version == 1:
            status = "201 Created"
        rest = {
            "request": {"method": method, "url": reference},
            "response": {"status": status, "etag": etag(one.version), "lastModified": iso(one.committed_at_ms)},
        }
        resource = b'"resource":' + shown(one, subset) + b"," if one.content else b""
        entries.append(b'{"fullUrl":' + _json(f"{base}/{reference}") + b"," + resource + _json(rest)[1:])
    return entries


def _bundle(head: dict[str, Any], entries: Sequence[bytes]) -> bytes:
    # R4 forbids empty arrays: a bundle of nothing has no entry element.
    return _json(head)[:-1] + (b',"entry":[' + b",".join(entries) + b"]}" if entries else b"}")


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
